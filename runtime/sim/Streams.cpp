// The drop-in driver's streams and events.
#include "runtime/sim/DropIn.h"

using namespace llmc::cuda;
using namespace llmc::sim;

LLMC_EXPORT Result cuStreamCreate(Stream *stream, unsigned) {
  LLMC_CALL(notWhileCapturing);
  auto *made = new StreamState;
  device().objects[made] = Object::stream;
  *stream = reinterpret_cast<Stream>(made);
  return kSuccess;
}
LLMC_EXPORT Result cuStreamDestroy_v2(Stream handle) {
  LLMC_CALL(evenWhenFailed);
  StreamState *stream = handle ? device().stream(handle) : nullptr;
  if (!stream)
    return misuse("a stream is destroyed that does not exist", kInvalidHandle);
  finish(*stream);
  for (auto [object, kind] : device().objects)
    if (auto *event = static_cast<EventState *>(object); kind == Object::event && event->stream == stream)
      event->stream = nullptr;
  device().objects.erase(stream);
  delete stream;
  return kSuccess;
}
LLMC_EXPORT Result cuStreamSynchronize(Stream handle) {
  LLMC_CALL(always);
  StreamState *stream = device().stream(handle);
  if (!stream)
    return misuse("a stream is waited for that does not exist", kInvalidHandle);
  if (stream->capture) {
    stream->isBroken = true;
    return misuse("a stream is waited for while it is captured", kStreamCaptureUnsupported);
  }
  return finish(*stream);
}

LLMC_EXPORT Result cuEventCreate(Event *event, unsigned) {
  LLMC_CALL(notWhileCapturing);
  auto *made = new EventState;
  device().objects[made] = Object::event;
  *event = reinterpret_cast<Event>(made);
  return kSuccess;
}
LLMC_EXPORT Result cuEventDestroy_v2(Event handle) {
  LLMC_CALL(evenWhenFailed);
  auto *event = reinterpret_cast<EventState *>(handle);
  if (!device().isLive(event, Object::event))
    return misuse("an event is destroyed that does not exist", kInvalidHandle);
  if (event->stream)
    finish(*event->stream, event->after);
  device().objects.erase(event);
  delete event;
  return kSuccess;
}
LLMC_EXPORT Result cuEventRecord(Event handle, Stream streamHandle) {
  LLMC_CALL(notWhileCapturing); // the real driver captures it; nothing here needs that
  auto *event = reinterpret_cast<EventState *>(handle);
  StreamState *stream = device().stream(streamHandle);
  if (!stream || !device().isLive(event, Object::event))
    return misuse("an event or a stream does not exist", kInvalidHandle);
  Result r = submit(streamHandle, {Work::Kind::mark, [event] {
                                     if (device().isLive(event, Object::event))
                                       event->time = std::chrono::steady_clock::now();
                                     return kSuccess;
                                   }});
  event->stream = stream;
  event->after = stream->submitted;
  return r;
}
LLMC_EXPORT Result cuEventSynchronize(Event handle) {
  LLMC_CALL(notWhileCapturing);
  auto *event = reinterpret_cast<EventState *>(handle);
  if (!device().isLive(event, Object::event))
    return misuse("an event is waited for that does not exist", kInvalidHandle);
  return event->stream ? finish(*event->stream, event->after) : kSuccess;
}
LLMC_EXPORT Result cuEventElapsedTime(float *milliseconds, Event from, Event to) {
  LLMC_CALL(notWhileCapturing);
  for (Event handle : {from, to}) {
    auto *event = reinterpret_cast<EventState *>(handle);
    if (!device().isLive(event, Object::event) || !event->stream)
      return kInvalidHandle;
    if (event->stream->done < event->after)
      return kNotReady;
  }
  std::chrono::duration<float, std::milli> elapsed =
      reinterpret_cast<EventState *>(to)->time - reinterpret_cast<EventState *>(from)->time;
  *milliseconds = elapsed.count();
  return kSuccess;
}
