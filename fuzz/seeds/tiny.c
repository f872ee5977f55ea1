// Source of the two ELF seeds: jump table, pointers in data, unwind records, relative relocations, 2 kB each.
// gcc -O1 -fPIE -nostdlib -static-pie -fno-stack-protector -s tiny.c -o elf/tiny-1
//   -Wl,-z,noseparate-code,--build-id=none,--hash-style=gnu,-z,norelro     (and with -DSECOND: elf/tiny-2)
#ifdef SECOND
#define MORE , "four"
#define NEGATE add(-n, 3)
#else
#define MORE
#define NEGATE -n
#endif
static const char *names[] = {"zero", "one", "two", "three" MORE};
long total;
__attribute__((noinline)) long add(long a, long b) { return a + b + total; }
__attribute__((noinline)) const char *name(unsigned n) {
  return n < sizeof names / sizeof *names ? names[n] : "many";
}
__attribute__((noinline)) long pick(long n) {
  switch (n) {
    case 0: return total;
    case 1: return add(n, 7);
    case 2: return NEGATE;
    case 3: return n * n;
    case 4: return add(total, n);
    case 5: return 17;
    default: return *name(n);
  }
}
void _start(void) {
  for (long i = 0; i < 9; i++) total = add(pick(i), *name(i));
  for (;;) __asm__ volatile("syscall" ::"a"(60), "D"(total & 1));
}
