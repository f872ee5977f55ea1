// A program linked at an address of its own, without relocations: pointers, distances from where they stand, and the
// low halves of addresses, as kernels have them.
#define SITE __asm__ volatile("1: .pushsection .sites, \"a\"; .balign 4; .long 1b - .; .popsection")

static volatile long sink;

#define PART(n)                                                   \
  __attribute__((noinline)) static void part##n(long a) {         \
    sink += a * n;                                                \
    SITE;                                                         \
    sink ^= a + n;                                                \
  }
#define TEN(x) PART(x##0) PART(x##1) PART(x##2) PART(x##3) PART(x##4) PART(x##5) PART(x##6) PART(x##7) PART(x##8) PART(x##9)
TEN(1) TEN(2) TEN(3) TEN(4)
#ifdef SECOND
PART(90)
__attribute__((noinline)) static void more(long a) { for (long i = 0; i < a; i++) sink -= i * a; }
#endif
TEN(5) TEN(6) TEN(7) TEN(8)

#define NAMES(x) part##x##0, part##x##1, part##x##2, part##x##3, part##x##4, part##x##5, part##x##6, part##x##7, part##x##8, part##x##9
void (*volatile all[])(long) = {
    NAMES(1), NAMES(2), NAMES(3), NAMES(4),
#ifdef SECOND
    part90, more,
#endif
    NAMES(5), NAMES(6), NAMES(7), NAMES(8),
};

#define HALF(n) __asm__(".pushsection .halves, \"a\"; .balign 4; .long part" #n "; .popsection");
#define HALVES(x) HALF(x##0) HALF(x##1) HALF(x##2) HALF(x##3) HALF(x##4) HALF(x##5) HALF(x##6) HALF(x##7) HALF(x##8) HALF(x##9)
HALVES(1) HALVES(2) HALVES(3) HALVES(4) HALVES(5) HALVES(6) HALVES(7) HALVES(8)

void _start(void) {
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) all[i](i);
  for (;;) __asm__ volatile("" ::: "memory");
}
