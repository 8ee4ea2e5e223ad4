// ELF64 reading with every offset checked against the file or the image before use. Formats: System V ABI and
// its AMD64 supplement.
#include "runtime/cpu/ElfImage.h"
#include <cstring>
#include <elf.h>
#include <sys/mman.h>
#include <vector>

namespace llmc::runtime {

class ElfReader {
public:
  ElfReader(const uint8_t *data, size_t size, const std::string &where, ElfImage &image)
      : data_(data), size_(size), where_(where), image_(image) {}

  absl::Status load() {
    if (absl::Status s = readHeaders(); !s.ok())
      return s;
    if (absl::Status s = mapSegments(); !s.ok())
      return s;
    if (absl::Status s = readDynamic(); !s.ok())
      return s;
    if (absl::Status s = relocate(); !s.ok())
      return s;
    if (absl::Status s = readSymbols(); !s.ok())
      return s;
    return protect();
  }

private:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kMaxImageBytes = 1ull << 30;

  absl::Status fail(const std::string &what) const {
    return absl::DataLossError(where_ + ": " + what + "; compile the model again");
  }

  static uint64_t pageUp(uint64_t value) { return (value + kPage - 1) / kPage * kPage; }

  /// Whether [offset, offset + bytes) lies in [0, limit).
  static bool isInside(uint64_t offset, uint64_t bytes, uint64_t limit) {
    return offset <= limit && bytes <= limit - offset;
  }

  absl::Status readHeaders() {
    Elf64_Ehdr header;
    if (size_ < sizeof header)
      return fail("code object of " + std::to_string(size_) + " bytes is too short for an ELF header");
    memcpy(&header, data_, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64 || header.e_type != ET_DYN)
      return fail("code object is not an x86-64 ELF shared object");
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > 64 ||
        !isInside(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), size_))
      return fail("code object's program headers leave the file");
    headers_.resize(header.e_phnum);
    memcpy(headers_.data(), data_ + header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr));
    return absl::OkStatus();
  }

  absl::Status mapSegments() {
    uint64_t end = 0;
    for (const Elf64_Phdr &h : headers_) {
      if (h.p_type == PT_TLS || h.p_type == PT_INTERP)
        return fail("code object has thread-local storage or an interpreter");
      if (h.p_type == PT_GNU_STACK && (h.p_flags & PF_X))
        return fail("code object asks for an executable stack");
      if (h.p_type != PT_LOAD)
        continue;
      if ((h.p_flags & PF_W) && (h.p_flags & PF_X))
        return fail("code object has a segment that is writable and executable");
      if (!isInside(h.p_offset, h.p_filesz, size_) || h.p_filesz > h.p_memsz ||
          !isInside(h.p_vaddr, h.p_memsz, kMaxImageBytes))
        return fail("code object's segment at offset " + std::to_string(h.p_offset) +
                    " leaves the file or the address space");
      // Sorted and on pages of their own, so that each has its own protection.
      if (h.p_vaddr / kPage * kPage < end)
        return fail("code object's segments share pages");
      end = pageUp(h.p_vaddr + h.p_memsz);
    }
    if (end == 0)
      return fail("code object has nothing to load");
    void *map = mmap(nullptr, end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
      return absl::ResourceExhaustedError(where_ + ": no memory for " + std::to_string(end) +
                                          " bytes of code");
    image_.base_ = static_cast<uint8_t *>(map);
    image_.size_ = end;
    for (const Elf64_Phdr &h : headers_)
      if (h.p_type == PT_LOAD && h.p_filesz > 0)
        memcpy(image_.base_ + h.p_vaddr, data_ + h.p_offset, h.p_filesz);
    return absl::OkStatus();
  }

  template <typename T> bool read(uint64_t address, T &value) const {
    if (!isInside(address, sizeof(T), image_.size_))
      return false;
    memcpy(&value, image_.base_ + address, sizeof(T));
    return true;
  }

  absl::Status readDynamic() {
    const Elf64_Phdr *dynamic = nullptr;
    for (const Elf64_Phdr &h : headers_)
      if (h.p_type == PT_DYNAMIC)
        dynamic = &h;
    if (!dynamic)
      return fail("code object has no dynamic section, so it exports nothing");
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->p_memsz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      if (!isInside(dynamic->p_vaddr, at, image_.size_) || !read(dynamic->p_vaddr + at, entry))
        return fail("code object's dynamic section leaves its image");
      uint64_t value = entry.d_un.d_val;
      switch (entry.d_tag) {
      case DT_NULL:
        return absl::OkStatus();
      case DT_NEEDED:
        return fail("code object needs other libraries");
      case DT_INIT:
      case DT_FINI:
        return fail("code object has constructors or destructors");
      case DT_TEXTREL:
        return fail("code object relocates its code");
      case DT_INIT_ARRAYSZ:
      case DT_FINI_ARRAYSZ:
      case DT_PREINIT_ARRAYSZ:
        if (value)
          return fail("code object has constructors or destructors");
        break;
      case DT_PLTRELSZ:
      case DT_RELSZ:
      case DT_RELRSZ:
        if (value)
          return fail("code object has relocations other than R_X86_64_RELATIVE");
        break;
      case DT_HASH:
        hash_ = value;
        break;
      case DT_GNU_HASH:
        gnuHash_ = value;
        break;
      case DT_SYMTAB:
        symbols_ = value;
        break;
      case DT_STRTAB:
        strings_ = value;
        break;
      case DT_STRSZ:
        stringBytes_ = value;
        break;
      case DT_RELA:
        rela_ = value;
        break;
      case DT_RELASZ:
        relaBytes_ = value;
        break;
      case DT_SYMENT:
        if (value != sizeof(Elf64_Sym))
          return fail("code object's symbols have an unknown size");
        break;
      default:
        break;
      }
    }
    return absl::OkStatus();
  }

  /// The loaded segment that holds [address, address + bytes) and has all of `flags`.
  const Elf64_Phdr *segmentOf(uint64_t address, uint64_t bytes, uint32_t flags) const {
    for (const Elf64_Phdr &h : headers_)
      if (h.p_type == PT_LOAD && (h.p_flags & flags) == flags && address >= h.p_vaddr &&
          isInside(address - h.p_vaddr, bytes, h.p_memsz))
        return &h;
    return nullptr;
  }

  absl::Status relocate() {
    if (!isInside(rela_, relaBytes_, image_.size_) || relaBytes_ % sizeof(Elf64_Rela))
      return fail("code object's relocations leave its image");
    for (uint64_t at = 0; at < relaBytes_; at += sizeof(Elf64_Rela)) {
      Elf64_Rela r;
      read(rela_ + at, r);
      if (ELF64_R_TYPE(r.r_info) == R_X86_64_NONE)
        continue;
      if (ELF64_R_TYPE(r.r_info) != R_X86_64_RELATIVE)
        return fail("code object has a relocation of type " + std::to_string(ELF64_R_TYPE(r.r_info)) +
                    ", only R_X86_64_RELATIVE is supported");
      if (!segmentOf(r.r_offset, 8, PF_W) || static_cast<uint64_t>(r.r_addend) > image_.size_)
        return fail("code object has a relocation outside its writable data");
      uint64_t value = reinterpret_cast<uint64_t>(image_.base_) + static_cast<uint64_t>(r.r_addend);
      memcpy(image_.base_ + r.r_offset, &value, 8);
    }
    return absl::OkStatus();
  }

  /// Number of dynamic symbols: the length of DT_HASH's chains, or one past the last symbol that DT_GNU_HASH
  /// reaches.
  bool countSymbols(uint64_t &count) const {
    if (hash_) {
      uint32_t words[2];
      if (!read(hash_, words))
        return false;
      count = words[1];
      return true;
    }
    uint32_t head[4]; // buckets, first hashed symbol, bloom words, shift
    if (!gnuHash_ || !read(gnuHash_, head))
      return false;
    uint64_t buckets = gnuHash_ + 16 + 8ull * head[2], chains = buckets + 4ull * head[0];
    uint32_t last = 0;
    for (uint32_t i = 0; i < head[0]; ++i) {
      uint32_t first;
      if (!read(buckets + 4ull * i, first))
        return false;
      last = std::max(last, first);
    }
    if (last < head[1]) {
      count = head[1];
      return true;
    }
    for (;; ++last) {
      uint32_t link;
      if (!read(chains + 4ull * (last - head[1]), link))
        return false;
      if (link & 1)
        break;
    }
    count = static_cast<uint64_t>(last) + 1;
    return true;
  }

  absl::Status readSymbols() {
    uint64_t count = 0;
    if (!symbols_ || !strings_ || !countSymbols(count) || count > image_.size_ ||
        !isInside(symbols_, count * sizeof(Elf64_Sym), image_.size_) ||
        !isInside(strings_, stringBytes_, image_.size_))
      return fail("code object's symbol table leaves its image");
    const char *strings = reinterpret_cast<const char *>(image_.base_ + strings_);
    for (uint64_t i = 1; i < count; ++i) {
      Elf64_Sym symbol;
      read(symbols_ + i * sizeof symbol, symbol);
      if (symbol.st_name >= stringBytes_ ||
          !memchr(strings + symbol.st_name, 0, stringBytes_ - symbol.st_name))
        return fail("code object's symbol " + std::to_string(i) + " has a name outside the string table");
      const char *name = strings + symbol.st_name;
      if (symbol.st_shndx == SHN_UNDEF)
        return fail(std::string("code object needs symbol '") + name + "', which is not in it");
      unsigned type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_GNU_IFUNC || type == STT_TLS)
        return fail(std::string("code object's symbol '") + name + "' is of an unsupported type");
      if (type != STT_FUNC)
        continue;
      if (!segmentOf(symbol.st_value, std::max<uint64_t>(symbol.st_size, 1), PF_X))
        return fail(std::string("code object's symbol '") + name + "' lies outside its code");
      image_.functions_.emplace(name, image_.base_ + symbol.st_value);
    }
    return absl::OkStatus();
  }

  absl::Status protect() {
    // Gaps between segments become inaccessible, then each segment gets its own rights.
    bool isDone = mprotect(image_.base_, image_.size_, PROT_NONE) == 0;
    for (const Elf64_Phdr &h : headers_) {
      if (h.p_type != PT_LOAD || h.p_memsz == 0)
        continue;
      int rights = (h.p_flags & PF_R ? PROT_READ : 0) | (h.p_flags & PF_W ? PROT_WRITE : 0) |
                   (h.p_flags & PF_X ? PROT_EXEC : 0);
      uint64_t begin = h.p_vaddr / kPage * kPage;
      isDone = isDone && mprotect(image_.base_ + begin, pageUp(h.p_vaddr + h.p_memsz) - begin, rights) == 0;
    }
    // What was only writable for relocation is not any more.
    for (const Elf64_Phdr &h : headers_)
      if (h.p_type == PT_GNU_RELRO && isInside(h.p_vaddr, h.p_memsz, image_.size_)) {
        uint64_t begin = h.p_vaddr / kPage * kPage, end = (h.p_vaddr + h.p_memsz) / kPage * kPage;
        const Elf64_Phdr *segment = segmentOf(h.p_vaddr, 1, PF_W);
        if (segment && end > begin)
          isDone = isDone && mprotect(image_.base_ + begin, end - begin, PROT_READ) == 0;
      }
    return isDone ? absl::OkStatus()
                  : absl::PermissionDeniedError(where_ +
                                                ": the system refuses to make memory executable (mprotect)");
  }

  const uint8_t *data_;
  size_t size_;
  const std::string &where_;
  ElfImage &image_;
  std::vector<Elf64_Phdr> headers_;
  uint64_t hash_ = 0, gnuHash_ = 0, symbols_ = 0, strings_ = 0, stringBytes_ = 0, rela_ = 0, relaBytes_ = 0;
};

absl::StatusOr<std::unique_ptr<ElfImage>> ElfImage::load(const uint8_t *data, size_t size,
                                                         const std::string &where) {
  std::unique_ptr<ElfImage> image(new ElfImage);
  if (absl::Status s = ElfReader(data, size, where, *image).load(); !s.ok())
    return s;
  return image;
}

ElfImage::~ElfImage() {
  if (base_)
    munmap(base_, size_);
}

void *ElfImage::function(const std::string &name) const {
  auto found = functions_.find(name);
  return found == functions_.end() ? nullptr : found->second;
}

} // namespace llmc::runtime
