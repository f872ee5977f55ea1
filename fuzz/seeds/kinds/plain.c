// A little of everything for machines without a C++ compiler at hand: calls, a jump table, pointers, strings.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
  const char *name;
  long (*run)(long, long);
};
static long add(long a, long b) { return a + b; }
static long take(long a, long b) { return a > b ? a - b : b - a; }
static long times(long a, long b) { return a * b; }
#ifdef SECOND
static long power(long a, long b) {
  long out = 1;
  for (long i = 0; i < b; i++) out = times(out, a);
  return out;
}
#endif
static const struct entry table[] = {
    {"add", add}, {"take", take}, {"times", times},
#ifdef SECOND
    {"power", power},
#endif
};

__attribute__((noinline)) const char *grade(int n) {
  switch (n) {
    case 0: return "none";
    case 1: return "one";
    case 2: return "two";
    case 3: return "few";
    case 4: return getenv("FOUR");
    case 5: return "five";
#ifdef SECOND
    case 6: return strerror(n);
#endif
    default: return n > 100 ? "very many" : "many";
  }
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int main(int argc, char **argv) {
  qsort(argv + 1, argc - 1, sizeof *argv, compare);
  for (int i = 1; i < argc; i++) {
    for (unsigned k = 0; k < sizeof table / sizeof *table; k++) {
      if (!strcmp(table[k].name, argv[i])) printf("%s %ld\n", grade(i), table[k].run(i, argc));
    }
  }
  return argc > 3 ? fprintf(stderr, "%d is %s\n", argc, grade(argc)) : 0;
}
