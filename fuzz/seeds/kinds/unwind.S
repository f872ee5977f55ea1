@ Rows of .ARM.exidx of every kind: none, instructions in the row, entries with and without a routine of their own.
        .syntax unified
        .arm
        .text
        .global routine
        .type routine, %function
routine:
        .fnstart
        mov     r0, #9
        bx      lr
        .cantunwind
        .fnend

@ A function that saves registers; its row has the instructions.
        .macro  saves name, registers:vararg
        .global \name
        .type   \name, %function
\name:  .fnstart
        .save   {\registers}
        push    {\registers}
        bl      routine
        add     r0, r0, #1
        pop     {\registers}
        bx      lr
        .fnend
        .size   \name, . - \name
        .endm

@ One with an entry that names a routine; behind it data of the language.
        .macro  lands name, data
        .global \name
        .type   \name, %function
\name:  .fnstart
        .save   {r4, r5, r11, lr}
        push    {r4, r5, r11, lr}
        mov     r4, #\data
        bl      routine
        .pad    #16
        sub     sp, sp, #16
        bl      routine
        add     sp, sp, #16
        pop     {r4, r5, r11, lr}
        bx      lr
        .personality routine
        .handlerdata
        .word   \data, 0x7fff0000 + \data
        .fnend
        .size   \name, . - \name
        .endm

@ One with more instructions than a row has room for.
        .macro  long name, data
        .global \name
        .type   \name, %function
\name:  .fnstart
        .save   {r4, r6, r8, lr}
        push    {r4, r6, r8, lr}
        .vsave  {d8, d9}
        vpush   {d8, d9}
        .pad    #272
        sub     sp, sp, #272
        mov     r6, #\data
        bl      routine
        .setfp  r8, sp, #8
        add     r8, sp, #8
        bl      routine
        bx      lr
        .fnend
        .size   \name, . - \name
        .endm

@ One that can't be unwound.
        .macro  never name, data
        .global \name
        .type   \name, %function
\name:  .fnstart
        mov     r1, #\data
        b       .
        .cantunwind
        .fnend
        .size   \name, . - \name
        .endm

        saves   first, r4, lr
#ifdef SECOND
        saves   added, r4, r5, r6, lr
        lands   added_too, 77
        saves   third, r4, r5, r6, lr
#else
        saves   third, r4, r5, lr
#endif
        lands   fourth, 4
        never   fifth, 5
        long    sixth, 6
        lands   seventh, 7
#ifndef SECOND
        long    gone, 90
        never   gone_too, 91
        saves   eighth, r7, lr
        lands   ninth, 9
        never   tenth, 10
#else
        lands   eighth, 8
        never   ninth, 9
        saves   tenth, r9, r10, lr
        long    eleventh, 11
        saves   twelfth, r4, r11, lr
        lands   last, 13
#endif
