/* codegen/cubin.h: what a module says of its kernels, made by hand and, where it is installed, by NVIDIA's NVRTC; modules that end
 * early or have any one byte wrong are answered, and nothing outside of them is read (the sanitizers see to that). */
#include "codegen/cubin.h"
#include "codegen/nvrtc.h"
#include "tests/unit/test.h"

#include <elf.h>
#include <stdlib.h>

enum { SECTIONS = 6, NAMES = 128, SYMBOL_NAMES = 32 };

typedef struct module {
    Elf64_Ehdr head;
    Elf64_Shdr sections[SECTIONS];
    char names[NAMES], symbol_names[SYMBOL_NAMES];
    Elf64_Sym symbols[3];
    struct {
        unsigned char format, attribute;
        uint16_t size;
        uint32_t value[2];
    } info[4];
} module;

static void make_section(module *m, int index, uint32_t type, const char *name, size_t at,
                         size_t size) {
    size_t end = 1;
    while (m->names[end]) end += strlen(m->names + end) + 1;
    strcpy(m->names + end, name);
    m->sections[index] =
        (Elf64_Shdr){.sh_name = (Elf64_Word)end, .sh_type = type, .sh_offset = at, .sh_size = size};
}

static module make_module(void) {
    module m = {.head = {.e_machine = 190,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = SECTIONS,
                         .e_shstrndx = 1,
                         .e_shoff = offsetof(module, sections)}};
    memcpy(m.head.e_ident, ELFMAG, SELFMAG);
    m.head.e_ident[EI_CLASS] = ELFCLASS64;
    make_section(&m, 1, SHT_STRTAB, ".shstrtab", offsetof(module, names), sizeof m.names);
    make_section(&m, 2, SHT_STRTAB, ".strtab", offsetof(module, symbol_names),
                 sizeof m.symbol_names);
    make_section(&m, 3, SHT_SYMTAB, ".symtab", offsetof(module, symbols), sizeof m.symbols);
    m.sections[3].sh_link = 2;
    make_section(&m, 4, 0x70000000, ".nv.info", offsetof(module, info), sizeof m.info);
    make_section(&m, 5, SHT_NOBITS, ".nv.shared.second", 0, 4096);
    strcpy(m.symbol_names + 1, "first");
    strcpy(m.symbol_names + 7, "second");
    m.symbols[1].st_name = 1;
    m.symbols[2].st_name = 7;
    const struct {
        unsigned char attribute;
        uint32_t symbol, number;
    } rows[] = {{0x2f, 1, 24}, {0x11, 1, 0}, {0x2f, 2, 255}, {0x11, 2, 64}};
    for (int i = 0; i < 4; i++) {
        m.info[i].format = 4;
        m.info[i].attribute = rows[i].attribute;
        m.info[i].size = 8;
        m.info[i].value[0] = rows[i].symbol;
        m.info[i].value[1] = rows[i].number;
    }
    return m;
}

static void test_made(void) {
    module m = make_module();
    sinter_cubin_kernel kernel;
    CHECK(sinter_cubin_find(&m, sizeof m, "first", &kernel) && kernel.registers == 24 &&
          kernel.stack_bytes == 0 && kernel.shared_bytes == 0);
    CHECK(sinter_cubin_find(&m, sizeof m, "second", &kernel) && kernel.registers == 255 &&
          kernel.stack_bytes == 64 && kernel.shared_bytes == 4096);
    CHECK(!sinter_cubin_find(&m, sizeof m, "third", &kernel));
    CHECK(!sinter_cubin_find("sinter", 6, "first", &kernel));
}

/* On the heap, so that a byte too far is found. */
static void test_damaged(void) {
    const module whole = make_module();
    sinter_cubin_kernel kernel;
    for (size_t size = 0; size < sizeof whole; size++) {
        char *bytes = malloc(size + !size);
        if (!CHECK(bytes != NULL)) return;
        memcpy(bytes, &whole, size);
        if (size < offsetof(module, info)) CHECK(!sinter_cubin_find(bytes, size, "first", &kernel));
        sinter_cubin_find(bytes, size, "second", &kernel);
        free(bytes);
    }
    static const unsigned char flips[] = {1, 0x80, 0xff};
    for (size_t i = 0; i < sizeof whole; i++)
        for (size_t k = 0; k < sizeof flips; k++) {
            unsigned char *bytes = malloc(sizeof whole);
            if (!CHECK(bytes != NULL)) return;
            memcpy(bytes, &whole, sizeof whole);
            bytes[i] ^= flips[k];
            sinter_cubin_find(bytes, sizeof whole, "second", &kernel);
            free(bytes);
        }
}

static void test_compiled(void) {
    static const char text[] = "extern \"C\" __global__ void sums(float *x) { __shared__ float "
                               "s[100]; s[threadIdx.x] = x[threadIdx.x];\n"
                               "__syncthreads(); x[threadIdx.x] = s[99 - threadIdx.x]; }\n";
    static const char *const architectures[] = {"sm_75", "sm_80", "sm_90a"};
    sinter_arena arena;
    sinter_text said = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};
    sinter_nvrtc nvrtc;
    sinter_arena_init(&arena);
    bool there = sinter_nvrtc_open(&nvrtc, &arena, &diag);
    if (!there) printf("NVRTC is not installed\n");
    for (size_t i = 0; there && i < 3; i++) {
        sinter_text image = {0};
        sinter_cubin_kernel kernel = {0};
        CHECK(sinter_nvrtc_compile(&nvrtc, "test.cu", text, architectures[i], NULL, &image, NULL,
                                   &diag));
        CHECK(sinter_cubin_find(image.data, image.size, "sums", &kernel));
        CHECK(kernel.registers >= 4 && kernel.registers <= 64 && kernel.stack_bytes == 0);
        CHECK(kernel.shared_bytes >= 400 && kernel.shared_bytes <= 2048);
        sinter_text_deinit(&image);
    }
    sinter_text_deinit(&said);
    sinter_arena_deinit(&arena);
}

int main(void) {
    test_made();
    test_damaged();
    test_compiled();
    return test_finish();
}
