// Records of .eh_frame that compilers seldom leave: hand-made, each opcode, and some that describe no function.
#ifdef SECOND
#define MORE(...) __VA_ARGS__
#define LESS(...)
#else
#define MORE(...)
#define LESS(...) __VA_ARGS__
#endif
        .text
        .macro  body name, value, length=24
        .globl  \name
        .hidden \name
        .type   \name, @function
\name:  push    %rbx
        mov     $\value, %ebx
        mov     %ebx, %eax
        pop     %rbx
        ret
        .fill   \length - (. - \name), 1, 0x90
        .size   \name, . - \name
        .endm

        .irp    n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24
        body    plain\n, \n*3
        .endr
MORE(   body    inserted, 400, 40)
        body    wide, 100, MORE(72) LESS(64)
        body    odd, 101
        body    blocks, 102
        body    lands, 103
MORE(   body    signals, 104)
LESS(   body    removed, 105)

        .section .eh_frame, "a", @progbits
        .macro  cie name, text, more:vararg
        .balign 4
\name:  .long   .Lend_\name - . - 4
        .long   0
        .byte   1
        .asciz  "\text"
        .uleb128 1
        .sleb128 -8
        .uleb128 16
        \more
        .byte   0x0c, 7, 8, 0x90, 1
        .balign 8
.Lend_\name:
        .endm

        .macro  pointers
        .byte   7, 0x1b
        .long   plain1 - .
        .byte   0x1b, 0x1b
        .endm

        .macro  fde cie, name, size, program:vararg
        .balign 4
        .long   .Lend_of_\name - . - 4
        .long   . - \cie
        .long   \name - .
        .long   \size
        .uleb128 0
        .ifnb   \program
        .byte   \program
        .endif
        .balign 8
.Lend_of_\name:
        .endm

#define ADVANCE(n) 0x40 | n
        cie     common, "zR", .byte 1, 0x1b
        .irp    n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24
        fde     common, plain\n, 24, ADVANCE(1), 0x0e, 16, 0x83, 2, ADVANCE(9), 0x0e, 8
        .endr
MORE(   fde     common, inserted, 40, ADVANCE(1), 0x0e, 16, 0x83, 2, 2, 12, 0x0a, 3, 2, 0, 0x0b, 4, 1, 0, 0, 0, 0x0e, 8)
// Advances in more bytes than they need, a state kept and taken back, each kind of operand, and a block.
        fde     common, wide, MORE(72) LESS(64), 4, 1, 0, 0, 0, 0x0e, 16, 3, 2, 0, 0x0a, 2, 5, 0x0e, MORE(48) LESS(32), 0x83, 2, 0x05, 12, 3, 0x08, 3, 0x07, 12, 0x09, 3, 6, ADVANCE(6), 0x0b, 0x0d, 6, 0x13, 2, 0x2e, MORE(32) LESS(16), 0xc3, 0x06, 12
// An opcode that nobody knows, and a number in more bytes than it needs: told as bytes.
        fde     common, odd, 24, ADVANCE(1), 0x0e, 16, 0x3f, MORE(0x3e, 0x3d,) 7, 0, 0
        fde     common, blocks, 24, 0x0f, 3, 0x77, MORE(16) LESS(8), 0x06, ADVANCE(2), 0x10, 3, 2, 0x73, MORE(8) LESS(16), ADVANCE(3), 0x16, 12, 1, MORE(0x31) LESS(0x30), 0x0c, 7, 16, 0x14, 3, 1, 0x11, 12, 0x7e
MORE(   cie     signal, "zRS", .byte 1, 0x1b)
MORE(   fde     signal, signals, 24, ADVANCE(1), 0x0e, 16)
        cie     landing, "zPLR", pointers
        .balign 4
        .long   .Lend_lands - . - 4
        .long   . - landing
        .long   lands - .
        .long   24
        .uleb128 4
        .long   there - .
        .byte   ADVANCE(1), 0x0e, 16, ADVANCE(9), 0x0e, 8
        .balign 8
.Lend_lands:
LESS(   fde     common, removed, 24, ADVANCE(4), 0x0e, 24)
// What is no function: data, with the pointer of the second kind, and a stretch inside of one.
        .balign 4
        .long   .Lend_stray - . - 4
        .long   . - landing
        .long   there - .
        .long   MORE(12) LESS(8)
        .uleb128 4
        .long   MORE(there + 4 - .) LESS(there - .)
        .byte   ADVANCE(2), 0x0e, MORE(32) LESS(16)
        .long   0
        .balign 8
.Lend_stray:
MORE(   fde     common, data, 4, ADVANCE(3))
        .long   0
// What stands behind the end.
        .ascii  MORE("nobody reads on") LESS("and nobody reads this")

        .data
there:  .quad   1, 2, 3
data:   .quad   4
