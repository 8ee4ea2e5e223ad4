// Broken artifacts byte by byte: one change to the file of a good one, its checksums put right again so that
// the checks behind them are reached, and the whole message. Plans that a writer could build are in
// ArtifactTest.cpp. After the tables: every bit and every length of a plan, and positions of the blobs, up to
// running what is accepted.
#include "TestModel.h"
#include "runtime/Artifact.h"
#include "runtime/Artifact_generated.h"
#include "runtime/cpu/ElfImage.h"
#include "runtime/include/llmc.h"
#include <algorithm>
#include <cstring>
#include <elf.h>
#include <random>

namespace llmc::test {
using namespace llmc::runtime;
namespace fb = llmc::artifact;
namespace {

/// The bytes of an artifact, their parts changeable in place.
struct Bytes {
  std::string data;

  ArtifactHeader &header() { return *reinterpret_cast<ArtifactHeader *>(&data[0]); }
  uint8_t *plan() { return reinterpret_cast<uint8_t *>(&data[sizeof(ArtifactHeader)]); }
  const fb::Plan *root() { return fb::GetPlan(plan()); }
  fb::Blob &blob(unsigned i) { return *const_cast<fb::Blob *>(root()->blobs()->Get(i)); }

  void signHeader() {
    header().headerChecksum = checksumOf(data.data(), offsetof(ArtifactHeader, headerChecksum));
  }
  void signPlan() {
    header().planChecksum = checksumOf(plan(), header().planBytes);
    signHeader();
  }
  absl::Status parse() const {
    return parseArtifact(reinterpret_cast<const uint8_t *>(data.data()), data.size(), "m").status();
  }
};

/// The toy model with one CPU level, so that every machine chooses the same code, and a grid, which only CUDA
/// uses.
Bytes goodArtifact() {
  static const std::string bytes = [] {
    TemporaryFolder folder;
    ArtifactContents contents = testModel();
    contents.plan.codeObjects.pop_back();
    contents.plan.codeObjects[0].launches.assign(4, {"k", 64, 0, 0, {{GridOp::symbol, 1}}});
    contents.plan.codeObjects[0].merged = KernelLaunch{"all", 64, 0, 0, {{GridOp::constant, 1}}};
    contents.plan.codeObjects[0].launches[1].merged = 0;
    contents.plan.codeObjects[0].launches[3].whole = {0};
    absl::Status status = writeArtifact(folder.file("m"), contents);
    EXPECT_TRUE(status.ok()) << status;
    return readFile(folder.file("m"));
  }();
  return {bytes};
}

/// Sets a field that the file holds (one that has its default value is left out of a FlatBuffer).
template <typename T> void set(const void *table, uint16_t field, T value) {
  auto *changed = static_cast<flatbuffers::Table *>(const_cast<void *>(table));
  ASSERT_NE(changed->GetAddressOf(field), nullptr);
  changed->SetField<T>(field, value, static_cast<T>(~value));
}

/// Makes a field absent.
void drop(const void *table, uint16_t field) {
  const uint8_t *start = static_cast<const uint8_t *>(table);
  const uint8_t *vtable = start - flatbuffers::ReadScalar<int32_t>(start);
  flatbuffers::WriteScalar<uint16_t>(const_cast<uint8_t *>(vtable) + field, 0);
}

struct BadFile {
  const char *kind, *message;
  void (*change)(Bytes &);
};

const BadFile kHeaders[] = {
    {"a few bytes", "m: has 10 bytes, an artifact's header alone has 64; compile the model again",
     [](Bytes &b) { b.data.resize(10); }},
    {"no bytes", "m: has 0 bytes, an artifact's header alone has 64; compile the model again",
     [](Bytes &b) { b.data.clear(); }},
    {"other magic",
     "m: is not an llmc artifact (the first 8 bytes are not its magic number); make one with `llmc compile "
     "DIR -o m.llmc`",
     [](Bytes &b) { b.data[0] = 'G'; }},
    {"line ends converted",
     "m: is not an llmc artifact (the first 8 bytes are not its magic number); make one with `llmc compile "
     "DIR -o m.llmc`",
     [](Bytes &b) { b.data.erase(5, 1); }},
    {"later version",
     "m: has artifact format version 3, this runtime reads version 2; compile the model again or use the "
     "runtime of its compiler",
     [](Bytes &b) { b.header().version = 3; }},
    {"header checksum",
     "m: header checksum is 0x0000000000000001, its bytes give HEADER_SUM; compile the model again",
     [](Bytes &b) { b.header().headerChecksum = 1; }},
    {"flags", "m: header has reserved fields set; compile the model again",
     [](Bytes &b) {
       b.header().flags = 1;
       b.signHeader();
     }},
    {"reserved", "m: header has reserved fields set; compile the model again",
     [](Bytes &b) {
       b.header().reserved = 1;
       b.signHeader();
     }},
    {"truncated",
     "m: is truncated: the header says FILE_BYTES bytes, the file has 16384; compile the model again",
     [](Bytes &b) { b.data.resize(16384); }},
    {"bytes behind the end", "m: has 2 bytes after its end at FILE_BYTES; compile the model again",
     [](Bytes &b) { b.data += "ab"; }},
    {"plan behind the end",
     "m: plan of 1048576 bytes at offset 64 is not inside the file; compile the model again",
     [](Bytes &b) {
       b.header().planBytes = 1 << 20;
       b.signHeader();
     }},
    {"plan of all bytes there are",
     "m: plan of 18446744073709551615 bytes at offset 64 is not inside the file; compile the model again",
     [](Bytes &b) {
       b.header().planBytes = ~uint64_t(0);
       b.signHeader();
     }},
    {"plan over the header",
     "m: plan of PLAN_BYTES bytes at offset 0 is not inside the file; compile the model again",
     [](Bytes &b) {
       b.header().planOffset = 0;
       b.signHeader();
     }},
    {"plan checksum",
     "m: plan checksum is 0x0000000000000001 in the header, its bytes give PLAN_SUM; compile the model again",
     [](Bytes &b) {
       b.header().planChecksum = 1;
       b.signHeader();
     }},
};

const BadFile kPlans[] = {
    {"no plan",
     "m: plan of 0 bytes is not a well-formed FlatBuffer of artifact version 2; compile the model again",
     [](Bytes &b) { b.header().planBytes = 0; }},
    {"other FlatBuffer",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) { b.plan()[4] = 'X'; }},
    {"root outside",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) { memset(b.plan(), 0xff, 4); }},
    {"no metadata",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) { drop(b.root(), fb::Plan::VT_METADATA); }},
    {"no list of blobs",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) { drop(b.root(), fb::Plan::VT_BLOBS); }},
    {"a buffer without a name",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) { drop(b.root()->buffers()->Get(3), fb::Buffer::VT_NAME); }},
    {"a program that contains itself",
     "m: plan of PLAN_BYTES bytes is not a well-formed FlatBuffer of artifact version 2; compile the model "
     "again",
     [](Bytes &b) {
       // The offset of the first program points at the list that holds it.
       auto *first = const_cast<uint8_t *>(b.root()->programs()->Data());
       flatbuffers::WriteScalar<uint32_t>(first, uint32_t(-4));
     }},
    {"symbol", "m: a dimension's symbol has value 6, this runtime knows 0 to 5; compile the model again",
     [](Bytes &b) {
       auto *dim = const_cast<fb::Dim *>(b.root()->buffers()->Get(0)->shape()->Get(0));
       *dim = fb::Dim(1, static_cast<fb::Symbol>(6));
     }},
    {"element type", "m: an element type has value 10, this runtime knows 0 to 9; compile the model again",
     [](Bytes &b) { set<uint8_t>(b.root()->buffers()->Get(0), fb::Buffer::VT_ELEMENT_TYPE, 10); }},
    {"buffer kind", "m: a buffer's kind has value 6, this runtime knows 0 to 5; compile the model again",
     [](Bytes &b) { set<uint8_t>(b.root()->buffers()->Get(5), fb::Buffer::VT_KIND, 6); }},
    {"step kind",
     "m: program 'advance' step 2 has kind 2, this runtime knows 1 (dispatch); compile the model again",
     [](Bytes &b) {
       auto *kinds = b.root()->programs()->Get(1)->steps_type();
       const_cast<uint8_t *>(kinds->Data())[2] = 2;
     }},
    {"no step kind",
     "m: program 'advance' step 2 has kind 0, this runtime knows 1 (dispatch); compile the model again",
     [](Bytes &b) {
       auto *kinds = b.root()->programs()->Get(1)->steps_type();
       const_cast<uint8_t *>(kinds->Data())[2] = 0;
     }},
    {"tokenizer kind",
     "m: the tokenizer's kind has value 3, this runtime knows 0 to 2; compile the model again",
     [](Bytes &b) { set<uint8_t>(b.root()->tokenizer(), fb::Tokenizer::VT_KIND, 3); }},
    {"grid operation",
     "m: a grid's operation has value 10, this runtime knows 0 to 9; compile the model again",
     [](Bytes &b) {
       auto *term =
           const_cast<fb::GridTerm *>(b.root()->code_objects()->Get(0)->launches()->Get(2)->grid()->Get(0));
       *term = fb::GridTerm(0, static_cast<fb::GridOp>(10));
     }},
    {"number in a merged kernel that it cannot have",
     "m: code object 0 launch 1 has number 4 in a merged kernel; compile the model again",
     [](Bytes &b) { set<int32_t>(b.root()->code_objects()->Get(0)->launches()->Get(1), fb::KernelLaunch::VT_MERGED, 4); }},
    {"weight to prefetch that is no parameter",
     "m: code object 0 launch 3 reads the weight of parameter 77, which is none; compile the model again",
     [](Bytes &b) {
       auto *whole = const_cast<flatbuffers::Vector<uint32_t> *>(b.root()->code_objects()->Get(0)->launches()->Get(3)->whole());
       whole->Mutate(0, 77);
     }},
    {"blob over the plan", "m: blob 0 is at offset 64, expected 4096; compile the model again",
     [](Bytes &b) { b.blob(0) = fb::Blob(64, b.blob(0).bytes(), 0); }},
    {"blob not on a page", "m: blob 1 is at offset 64, expected BLOB1; compile the model again",
     [](Bytes &b) { b.blob(1) = fb::Blob(64, 10, 0); }},
    {"blobs overlap", "m: blob 2 is at offset BLOB1, expected BLOB2; compile the model again",
     [](Bytes &b) { b.blob(2) = b.blob(1); }},
    {"blob longer than the file",
     "m: blob 2 of 1048576 bytes at offset BLOB2 leaves the file of FILE_BYTES bytes; compile the model "
     "again",
     [](Bytes &b) { b.blob(2) = fb::Blob(b.blob(2).offset(), 1 << 20, 0); }},
    {"blob that wraps",
     "m: blob 2 of 18446744073709551615 bytes at offset BLOB2 leaves the file of FILE_BYTES bytes; compile "
     "the model again",
     [](Bytes &b) { b.blob(2) = fb::Blob(b.blob(2).offset(), ~uint64_t(0), 0); }},
    {"last blob empty", "m: contents end at BLOB3, the file has FILE_BYTES bytes; compile the model again",
     [](Bytes &b) { b.blob(3) = fb::Blob(b.blob(3).offset(), 0, 0); }},
    {"checksum of code",
     "m: blob 0 at offset 4096 has checksum CODE_SUM, expected 0x0000000000000001; compile the model again",
     [](Bytes &b) { b.blob(0) = fb::Blob(b.blob(0).offset(), b.blob(0).bytes(), 1); }},
};

std::string replaced(std::string text, const std::string &what, const std::string &with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

/// The tables have names where the sizes, offsets and checksums of the good artifact belong.
std::string filledIn(std::string message) {
  static Bytes good = goodArtifact();
  auto hex = [](uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
    return std::string(text);
  };
  message = replaced(message, "FILE_BYTES", std::to_string(good.data.size()));
  message = replaced(message, "PLAN_BYTES", std::to_string(good.header().planBytes));
  message = replaced(message, "HEADER_SUM", hex(good.header().headerChecksum));
  message = replaced(message, "PLAN_SUM", hex(good.header().planChecksum));
  message = replaced(message, "CODE_SUM", hex(good.blob(0).checksum()));
  for (unsigned i = 0; i < good.root()->blobs()->size(); ++i)
    message = replaced(message, "BLOB" + std::to_string(i), std::to_string(good.blob(i).offset()));
  return message;
}

void expectMessage(const BadFile &bad, const Bytes &bytes) {
  EXPECT_EQ(std::string(bytes.parse().message()), filledIn(bad.message)) << bad.kind;
}

TEST(BrokenArtifact, headers) {
  ASSERT_TRUE(goodArtifact().parse().ok()) << goodArtifact().parse();
  for (const BadFile &bad : kHeaders) {
    Bytes bytes = goodArtifact();
    bad.change(bytes);
    expectMessage(bad, bytes);
  }
}

TEST(BrokenArtifact, plans_and_blob_tables) {
  for (const BadFile &bad : kPlans) {
    Bytes bytes = goodArtifact();
    bad.change(bytes);
    bytes.signPlan();
    expectMessage(bad, bytes);
  }
}

TEST(BrokenArtifact, a_plan_that_shares_its_data_asks_for_no_more_memory_than_it_has) {
  // 3000 buffers with one name of 64 KiB: 200 MB in 100 KB.
  flatbuffers::FlatBufferBuilder b;
  auto name = b.CreateString(std::string(1 << 16, 'n'));
  auto metadata = fb::CreateMetadata(b, b.CreateString("m"), b.CreateString("f"), b.CreateString("p"));
  std::vector<flatbuffers::Offset<fb::Buffer>> buffers;
  for (int i = 0; i < 3000; ++i)
    buffers.push_back(fb::CreateBuffer(b, name));
  auto list = b.CreateVector(buffers);
  auto kernels = b.CreateVector(std::vector<flatbuffers::Offset<fb::Kernel>>());
  auto code = b.CreateVector(std::vector<flatbuffers::Offset<fb::CodeObject>>());
  auto blobs = b.CreateVectorOfStructs(std::vector<fb::Blob>());
  auto programs = b.CreateVector(std::vector<flatbuffers::Offset<fb::Program>>());
  fb::FinishPlanBuffer(b, fb::CreatePlan(b, metadata, kernels, code, blobs, list, programs));
  EXPECT_EQ(readPlan(b.GetBufferPointer(), b.GetSize(), "m").status().message(),
            "m: plan holds the same data in several places; compile the model again");
}

TEST(BrokenArtifact, data_is_compared_with_its_checksum_on_request) {
  TemporaryFolder folder;
  for (unsigned blob = 2; blob < 4; ++blob) {
    Bytes bytes = goodArtifact();
    uint64_t at = bytes.blob(blob).offset();
    bytes.data[at] ^= 1;
    writeFile(folder.file("m"), bytes.data);
    auto artifact = Artifact::open(folder.file("m"));
    ASSERT_TRUE(artifact.ok()) << artifact.status();
    std::string message((*artifact)->verifyWeights().message());
    std::string start = folder.file("m") + ": blob " + std::to_string(blob) + " at offset " +
                        std::to_string(at) + " has checksum 0x";
    EXPECT_EQ(message.substr(0, start.size()), start);
    EXPECT_EQ(message, std::string((*artifact)->verifyBlob(blob).message()));
  }
}

TEST(BrokenArtifact, files_that_are_no_files) {
  TemporaryFolder folder;
  std::string path = folder.file("");
  EXPECT_EQ(Artifact::open(path).status().message(), path + ": is not a regular file");
  EXPECT_EQ(Artifact::open(folder.file("none")).status().message(),
            folder.file("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(Artifact::open("/dev/zero").status().message(), "/dev/zero: is not a regular file");
}

/// An ELF file, its tables changeable in place.
struct Elf {
  std::string data = readFile(LLMC_TEST_KERNELS_RELATIVE);

  Elf64_Ehdr &header() { return *reinterpret_cast<Elf64_Ehdr *>(&data[0]); }
  Elf64_Phdr &program(uint32_t type, int nth = 0) {
    auto *headers = reinterpret_cast<Elf64_Phdr *>(&data[header().e_phoff]);
    for (int i = 0; i < header().e_phnum; ++i)
      if (headers[i].p_type == type && nth-- == 0)
        return headers[i];
    ADD_FAILURE() << "no program header of type " << type;
    return headers[0];
  }
  char *at(uint64_t address) {
    auto *headers = reinterpret_cast<Elf64_Phdr *>(&data[header().e_phoff]);
    for (int i = 0; i < header().e_phnum; ++i)
      if (headers[i].p_type == PT_LOAD && address - headers[i].p_vaddr < headers[i].p_filesz)
        return &data[headers[i].p_offset + address - headers[i].p_vaddr];
    ADD_FAILURE() << "no bytes at address " << address;
    return &data[0];
  }
  Elf64_Dyn &dynamic(int64_t tag) {
    auto *entry = reinterpret_cast<Elf64_Dyn *>(&data[program(PT_DYNAMIC).p_offset]);
    while (entry->d_tag != tag && entry->d_tag != DT_NULL)
      ++entry;
    EXPECT_EQ(entry->d_tag, tag);
    return *entry;
  }
  /// Turns the entry that holds the size of a symbol, which readers may do without, into another.
  void add(int64_t tag, uint64_t value) {
    Elf64_Dyn &entry = dynamic(DT_SYMENT);
    entry.d_tag = tag;
    entry.d_un.d_val = value;
  }
  Elf64_Sym &symbol(const std::string &name) {
    auto *symbol = reinterpret_cast<Elf64_Sym *>(at(dynamic(DT_SYMTAB).d_un.d_val));
    for (int i = 1; i < 64; ++i)
      if (name == at(dynamic(DT_STRTAB).d_un.d_val) + symbol[i].st_name)
        return symbol[i];
    ADD_FAILURE() << "no symbol " << name;
    return symbol[0];
  }
  Elf64_Rela &relocation() { return *reinterpret_cast<Elf64_Rela *>(at(dynamic(DT_RELA).d_un.d_val)); }
};

struct BadCode {
  const char *kind, *message;
  void (*change)(Elf &);
};

const BadCode kCode[] = {
    {"no bytes", "m: code object of 0 bytes is too short for an ELF header; compile the model again",
     [](Elf &e) { e.data.clear(); }},
    {"part of a header", "m: code object of 40 bytes is too short for an ELF header; compile the model again",
     [](Elf &e) { e.data.resize(40); }},
    {"other magic", "m: code object is not an x86-64 ELF shared object; compile the model again",
     [](Elf &e) { e.data[0] = 'M'; }},
    {"32 bits", "m: code object is not an x86-64 ELF shared object; compile the model again",
     [](Elf &e) { e.header().e_ident[EI_CLASS] = ELFCLASS32; }},
    {"big endian", "m: code object is not an x86-64 ELF shared object; compile the model again",
     [](Elf &e) { e.header().e_ident[EI_DATA] = ELFDATA2MSB; }},
    {"other machine", "m: code object is not an x86-64 ELF shared object; compile the model again",
     [](Elf &e) { e.header().e_machine = EM_AARCH64; }},
    {"a program", "m: code object is not an x86-64 ELF shared object; compile the model again",
     [](Elf &e) { e.header().e_type = ET_EXEC; }},
    {"size of program headers", "m: code object's program headers leave the file; compile the model again",
     [](Elf &e) { e.header().e_phentsize = 32; }},
    {"no program headers", "m: code object's program headers leave the file; compile the model again",
     [](Elf &e) { e.header().e_phnum = 0; }},
    {"65535 program headers", "m: code object's program headers leave the file; compile the model again",
     [](Elf &e) { e.header().e_phnum = 0xffff; }},
    {"program headers outside", "m: code object's program headers leave the file; compile the model again",
     [](Elf &e) { e.header().e_phoff = ~uint64_t(0) - 8; }},
    {"thread-local storage",
     "m: code object has thread-local storage or an interpreter; compile the model again",
     [](Elf &e) { e.program(PT_GNU_STACK).p_type = PT_TLS; }},
    {"an interpreter", "m: code object has thread-local storage or an interpreter; compile the model again",
     [](Elf &e) { e.program(PT_GNU_STACK).p_type = PT_INTERP; }},
    {"executable stack", "m: code object asks for an executable stack; compile the model again",
     [](Elf &e) { e.program(PT_GNU_STACK).p_flags |= PF_X; }},
    {"writable code", "m: code object has a segment that is writable and executable; compile the model again",
     [](Elf &e) { e.program(PT_LOAD, 1).p_flags |= PF_W; }},
    {"segment behind the file",
     "m: code object's segment at offset 1099511627776 leaves the file or the address space; compile the "
     "model again",
     [](Elf &e) { e.program(PT_LOAD).p_offset = 1ull << 40; }},
    {"segment offset that wraps",
     "m: code object's segment at offset 18446744073709551615 leaves the file or the address space; "
     "compile the model again",
     [](Elf &e) { e.program(PT_LOAD, 1).p_offset = ~uint64_t(0); }},
    {"segment larger in the file",
     "m: code object's segment at offset 0 leaves the file or the address space; compile the model again",
     [](Elf &e) { e.program(PT_LOAD).p_filesz = e.program(PT_LOAD).p_memsz + 1; }},
    {"segment of a terabyte",
     "m: code object's segment at offset 64 leaves the file or the address space; compile the model again",
     [](Elf &e) {
       e.program(PT_LOAD, 2).p_offset = 64;
       e.program(PT_LOAD, 2).p_memsz = 1ull << 40;
     }},
    {"segment far away",
     "m: code object's segment at offset 64 leaves the file or the address space; compile the model again",
     [](Elf &e) {
       e.program(PT_LOAD, 2).p_offset = 64;
       e.program(PT_LOAD, 2).p_vaddr = 1ull << 63;
     }},
    {"segments overlap", "m: code object's segments share pages; compile the model again",
     [](Elf &e) { e.program(PT_LOAD, 1).p_vaddr = e.program(PT_LOAD).p_vaddr; }},
    {"nothing to load", "m: code object has nothing to load; compile the model again",
     [](Elf &e) {
       for (int i = 3; i >= 0; --i)
         e.program(PT_LOAD, i).p_type = PT_NOTE;
     }},
    {"no dynamic section",
     "m: code object has no dynamic section, so it exports nothing; compile the model again",
     [](Elf &e) { e.program(PT_DYNAMIC).p_type = PT_NOTE; }},
    {"dynamic section outside", "m: code object's dynamic section leaves its image; compile the model again",
     [](Elf &e) { e.program(PT_DYNAMIC).p_vaddr = ~uint64_t(0) - 15; }},
    {"needs a library", "m: code object needs other libraries; compile the model again",
     [](Elf &e) { e.add(DT_NEEDED, 1); }},
    {"constructor", "m: code object has constructors or destructors; compile the model again",
     [](Elf &e) { e.add(DT_INIT, 0); }},
    {"list of constructors", "m: code object has constructors or destructors; compile the model again",
     [](Elf &e) { e.add(DT_INIT_ARRAYSZ, 8); }},
    {"list of destructors", "m: code object has constructors or destructors; compile the model again",
     [](Elf &e) { e.add(DT_FINI_ARRAYSZ, 8); }},
    {"relocations in code", "m: code object relocates its code; compile the model again",
     [](Elf &e) { e.add(DT_TEXTREL, 0); }},
    {"relocations of calls",
     "m: code object has relocations other than R_X86_64_RELATIVE; compile the model again",
     [](Elf &e) { e.add(DT_PLTRELSZ, 24); }},
    {"packed relocations",
     "m: code object has relocations other than R_X86_64_RELATIVE; compile the model again",
     [](Elf &e) { e.add(DT_RELRSZ, 8); }},
    {"size of symbols", "m: code object's symbols have an unknown size; compile the model again",
     [](Elf &e) { e.dynamic(DT_SYMENT).d_un.d_val = 16; }},
    {"relocations outside", "m: code object's relocations leave its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_RELA).d_un.d_val = 1ull << 40; }},
    {"part of a relocation", "m: code object's relocations leave its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_RELASZ).d_un.d_val -= 1; }},
    {"relocation of another type",
     "m: code object has a relocation of type 1, only R_X86_64_RELATIVE is supported; compile the model "
     "again",
     [](Elf &e) { e.relocation().r_info = ELF64_R_INFO(1, R_X86_64_64); }},
    {"relocation of code",
     "m: code object has a relocation outside its writable data; compile the model again",
     [](Elf &e) { e.relocation().r_offset = e.symbol("remember").st_value; }},
    {"relocation outside",
     "m: code object has a relocation outside its writable data; compile the model again",
     [](Elf &e) { e.relocation().r_offset = ~uint64_t(0) - 3; }},
    {"relocation to elsewhere",
     "m: code object has a relocation outside its writable data; compile the model again",
     [](Elf &e) { e.relocation().r_addend = -1; }},
    {"symbols outside", "m: code object's symbol table leaves its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_SYMTAB).d_un.d_val = 1ull << 40; }},
    {"no symbols", "m: code object's symbol table leaves its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_SYMTAB).d_un.d_val = 0; }},
    {"names outside", "m: code object's symbol table leaves its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_STRSZ).d_un.d_val = ~uint64_t(0); }},
    {"hash table outside", "m: code object's symbol table leaves its image; compile the model again",
     [](Elf &e) { e.dynamic(DT_GNU_HASH).d_un.d_val = ~uint64_t(0); }},
    {"a name outside",
     "m: code object's symbol 1 has a name outside the string table; compile the model again",
     [](Elf &e) {
       reinterpret_cast<Elf64_Sym *>(e.at(e.dynamic(DT_SYMTAB).d_un.d_val))[1].st_name = 1 << 30;
     }},
    {"undefined symbol", "m: code object needs symbol 'logits', which is not in it; compile the model again",
     [](Elf &e) { e.symbol("logits").st_shndx = SHN_UNDEF; }},
    {"symbol chosen at run time",
     "m: code object's symbol 'logits' is of an unsupported type; compile the model again",
     [](Elf &e) { e.symbol("logits").st_info = ELF64_ST_INFO(STB_GLOBAL, STT_GNU_IFUNC); }},
    {"kernel outside", "m: code object's symbol 'logits' lies outside its code; compile the model again",
     [](Elf &e) { e.symbol("logits").st_value = 1ull << 40; }},
    {"kernel in data", "m: code object's symbol 'logits' lies outside its code; compile the model again",
     [](Elf &e) { e.symbol("logits").st_value = e.program(PT_LOAD).p_vaddr; }},
    {"kernel over the end of code",
     "m: code object's symbol 'logits' lies outside its code; compile the model again",
     [](Elf &e) { e.symbol("logits").st_size = 1 << 20; }},
};

TEST(BrokenArtifact, code_objects) {
  for (const BadCode &bad : kCode) {
    Elf elf;
    bad.change(elf);
    auto image = ElfImage::load(reinterpret_cast<const uint8_t *>(elf.data.data()), elf.data.size(), "m");
    EXPECT_EQ(std::string(image.status().message()), bad.message) << bad.kind;
  }
}

/// What opening a changed toy model says, without the name of the file.
std::string openingSays(void (*change)(ArtifactContents &), llmc_model **model = nullptr) {
  TemporaryFolder folder;
  ArtifactContents contents = testModel();
  contents.plan.codeObjects.pop_back(); // every machine takes the same code
  change(contents);
  absl::Status written = writeArtifact(folder.file("m"), contents);
  EXPECT_TRUE(written.ok()) << written;
  llmc_model *opened = nullptr;
  llmc_status status = llmc_model_open(folder.file("m").c_str(), nullptr, &opened);
  std::string text = status == LLMC_OK ? "" : llmc_last_error();
  if (model)
    *model = opened;
  else
    llmc_model_close(opened);
  return replaced(text, folder.file("m"), "m");
}

TEST(BrokenArtifact, code_that_is_not_that_of_the_plan) {
  EXPECT_EQ(openingSays([](ArtifactContents &c) { c.plan.kernels[2].name = "logit"; }),
            "m: code object 'x86-64-v3' lacks symbol 'logit'; compile the model again");
  // A function of that name alone is not a kernel: it must say how many workgroups it has.
  EXPECT_EQ(openingSays([](ArtifactContents &c) { c.plan.kernels[2].name = "logits.grid"; }),
            "m: code object 'x86-64-v3' lacks symbol 'logits.grid.grid'; compile the model again");
  EXPECT_EQ(openingSays([](ArtifactContents &c) { c.plan.codeObjects[0].blob = 3; }),
            "m (x86-64-v3): code object is not an x86-64 ELF shared object; compile the model again");
  EXPECT_EQ(openingSays([](ArtifactContents &c) { c.plan.codeObjects.clear(); }).substr(0, 49),
            "m: has no code for this CPU: the artifact holds n");
}

TEST(BrokenArtifact, programs_and_tokenizers_that_are_not_there) {
  llmc_model *model = nullptr;
  EXPECT_EQ(openingSays(
                [](ArtifactContents &c) {
                  c.plan.programs.erase(c.plan.programs.begin() + 1, c.plan.programs.end());
                  c.blobs[3] = blobOf("{}");
                },
                &model),
            "");
  llmc_session *session = nullptr;
  ASSERT_EQ(llmc_session_create(model, &session), LLMC_OK);
  const int32_t token = 1;
  int32_t next;
  float logits[97];
  const llmc_sampling greedy = {0, 1, 0, 0, 0};
  EXPECT_EQ(llmc_ingest(session, &token, 1), LLMC_OK);
  auto says = [](llmc_status status) {
    EXPECT_NE(status, LLMC_OK);
    std::string text = llmc_last_error();
    return text.substr(text.find(": ") + 2);
  };
  EXPECT_EQ(says(llmc_advance(session, &greedy, &next)), "has no program 'advance'; compile the model again with it");
  EXPECT_EQ(says(llmc_score(session, &token, 1, logits)), "has no program 'score'; compile the model again with it");
  size_t count;
  EXPECT_EQ(says(llmc_tokenize(model, "a", 1, 0, &next, 1, &count)), "tokenizer.json: model type '' is not supported, only byte-level BPE is");
  llmc_session_free(session);
  llmc_model_close(model);
}

/// Opens the file with the C API and, if that works, uses all three programs and the tokenizer. Returns
/// whether the file was accepted: then nothing may crash, whatever the results are.
bool openAndRun(const std::string &path) {
  llmc_model_options options;
  llmc_model_options_init(&options);
  options.threads = 1;
  options.context = 32;
  llmc_model *model = nullptr;
  if (llmc_model_open(path.c_str(), &options, &model) != LLMC_OK) {
    EXPECT_STRNE(llmc_last_error(), "");
    return false;
  }
  llmc_session *session = nullptr;
  EXPECT_EQ(llmc_session_create(model, &session), LLMC_OK) << llmc_last_error();
  const int32_t tokens[] = {1, 2, 3};
  int32_t next = 0;
  const llmc_sampling greedy = {0, 1, 0, 0, 0};
  if (llmc_ingest(session, tokens, 3) == LLMC_OK)
    llmc_advance(session, &greedy, &next);
  llmc_session_reset(session);
  std::vector<float> logits(3 * static_cast<size_t>(llmc_model_info(model, LLMC_INFO_VOCAB)));
  llmc_score(session, tokens, 3, logits.data());
  int32_t ids[16];
  size_t count = 0;
  if (llmc_tokenize(model, "hey there", 9, 0, ids, 16, &count) == LLMC_OK) {
    char text[64];
    size_t bytes = 0;
    llmc_detokenize(model, ids, std::min<size_t>(count, 16), text, sizeof text, &bytes);
  }
  llmc_session_free(session);
  llmc_model_close(model);
  return true;
}

/// Running takes most of the time: all of it under sanitizers, in `tools/check --long`, else a part.
#if __has_feature(address_sanitizer)
constexpr int kRunEvery = 1;
#else
constexpr int kRunEvery = 20;
#endif

class Changed : public testing::Test {
protected:
  bool run(Bytes &bytes) {
    writeFile(folder.file("m"), bytes.data);
    return openAndRun(folder.file("m"));
  }
  TemporaryFolder folder;
};

TEST_F(Changed, every_bit_of_the_plan) {
  Bytes good = goodArtifact();
  ASSERT_TRUE(run(good)) << llmc_last_error();
  size_t accepted = 0, bits = good.header().planBytes * 8;
  for (size_t bit = 0; bit < bits; ++bit) {
    Bytes bytes = good;
    bytes.plan()[bit / 8] ^= 1 << bit % 8;
    EXPECT_NE(bytes.parse().message().find("m: plan checksum is "), absl::string_view::npos) << bit;
    bytes.signPlan();
    if (bytes.parse().ok() && accepted++ % kRunEvery == 0)
      run(bytes);
  }
  // Names, special tokens and the model's facts are free; references, shapes and sizes are not.
  EXPECT_LT(accepted, bits / 2);
}

TEST_F(Changed, every_length_of_the_plan_and_the_file) {
  Bytes good = goodArtifact();
  for (uint64_t length = 0; length < good.header().planBytes; ++length) {
    Bytes bytes = good;
    bytes.header().planBytes = length;
    bytes.signPlan();
    EXPECT_FALSE(bytes.parse().ok()) << length;
  }
  for (size_t length = 0; length < good.data.size(); ++length) {
    Bytes bytes = good;
    bytes.data.resize(length);
    EXPECT_FALSE(bytes.parse().ok()) << length;
    if (length < sizeof(ArtifactHeader) + good.header().planBytes)
      continue;
    bytes.header().fileBytes = length; // then the blobs do not fit
    bytes.signHeader();
    EXPECT_FALSE(bytes.parse().ok()) << length;
  }
}

TEST_F(Changed, positions_of_the_blobs) {
  Bytes good = goodArtifact();
  std::mt19937 random(3);
  for (unsigned blob = 0; blob < good.root()->blobs()->size(); ++blob)
    for (int round = 0; round < 1600 / kRunEvery; ++round) {
      Bytes bytes = good;
      fb::Blob &entry = bytes.blob(blob);
      uint8_t *data = reinterpret_cast<uint8_t *>(&bytes.data[entry.offset()]);
      data[random() % entry.bytes()] ^= 1 << random() % 8;
      EXPECT_EQ(bytes.parse().ok(), blob != 0) << "only the checksum of code is compared at once";
      entry = fb::Blob(entry.offset(), entry.bytes(), checksumOf(data, entry.bytes()));
      bytes.signPlan();
      EXPECT_TRUE(bytes.parse().ok());
      if (blob == 0) // loaded, but not run: with a right checksum it is what the compiler made
        ElfImage::load(data, entry.bytes(), "m").status().IgnoreError();
      else
        EXPECT_TRUE(run(bytes)) << llmc_last_error();
    }
}

} // namespace
} // namespace llmc::test
