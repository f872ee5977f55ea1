// A program with lists of places in its code, as a kernel has: how the stack is unwound there, and what is patched.
// Freestanding, for x86-64.

#define ROW(at, stack, frame, kind) \
    ".pushsection .orc_unwind_ip,\"a\"; .long " #at " - .; .popsection;" \
    ".pushsection .orc_unwind,\"a\"; .short " #stack ", " #frame ", " #kind "; .popsection;"
#define SITE(list, at) ".pushsection " #list ",\"a\"; .long " #at " - .; .popsection;"

// A function of so many bytes of stack: its rows stand behind what moves the stack pointer.
#define FUNCTION(name, size, total, body) \
    asm(".text; .balign 16; .globl " #name "; .type " #name ", @function;" #name ":" \
        "1: push %rbx;" ROW(1b, 8, 0, 0x205) \
        "2: sub $" #size ", %rsp;" ROW(2b, 16, 0, 0x205) \
        "3:" ROW(3b, total, -16, 0x205) body \
        "add $" #size ", %rsp; 4: pop %rbx;" ROW(4b, 16, -16, 0x205) \
        "5: ret;" ROW(5b, 8, 0, 0x205) SITE(.return_sites, 5b) \
        ".size " #name ", . - " #name)

#define WORK(n) "mov %rdi, %rbx; lea " #n "(%rbx,%rsi), %rax; xor %rdx, %rax; imul $" #n ", %rax, %rcx;"
#define CALL(name) "call " #name ";"
#define LOCKED "6: lock incl counter(%rip);" SITE(.smp_locks, 6b)

asm(".data; .balign 4; counter: .long 0");

FUNCTION(first, 32, 48, WORK(3) LOCKED);
FUNCTION(second, 48, 64, WORK(5) CALL(first));
#ifdef SECOND
FUNCTION(between, 40, 56, WORK(1021) CALL(second) LOCKED);
FUNCTION(third, 72, 88, WORK(7) CALL(between) WORK(9));
#else
FUNCTION(third, 64, 80, WORK(7) CALL(second));
FUNCTION(gone, 24, 40, WORK(2021) LOCKED);
#endif
FUNCTION(fourth, 56, 72, WORK(11) CALL(third) LOCKED CALL(first));
FUNCTION(fifth, 96, 112, WORK(13) CALL(fourth) CALL(second) WORK(15));
FUNCTION(sixth, 104, 120, WORK(17) CALL(fifth)
#ifdef SECOND
    "test %eax, %eax; je 7f; push %rax; 8: push %rcx;" ROW(8b, 128, -16, 0x205) "9: add $16, %rsp;" ROW(9b, 136, -16, 0x205) "7:"
#endif
    WORK(19));
FUNCTION(seventh, 8, 24, WORK(21) CALL(sixth) LOCKED);

void _start(void) {
    asm("call seventh; mov $60, %eax; xor %edi, %edi; syscall");
}
