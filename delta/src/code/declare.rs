//! Symbols declared once: what the coder runs is what `FORMAT-models.md` lists.

/// Declares the models of a grammar and the symbols that are coded under each.
///
/// A model is `name(bits, limit)`: a table of `2^bits` counters, each of which adapts by at least `1 / limit`; with
/// `name(bits or fewer, limit)` the models of sites that are seldom asked, `small`, have `2^fewer`. A
/// symbol is `name: kind by(arguments) [contexts]`, its kind one of `flag`, `tree(width)`, `number`, `signed` and
/// `byte`; it becomes a method that takes the stream, the arguments and the value. All symbols of one model have
/// the same number of contexts. `delta/tests/models.rs` prints these declarations.
macro_rules! symbols {
    (
        $(#[$doc:meta])*
        $vis:vis struct $models:ident {
            $(
                $model:ident($bits:literal $(or $fewer:literal)?, $limit:literal) {
                    $(
                        $(#[$about:meta])*
                        $symbol:ident: $kind:ident $(($width:expr))? by($($arg:ident: $type:ty),*)
                            [$($context:expr),+ $(,)?];
                    )+
                }
            )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $models {
            $($model: $crate::code::Model,)+
        }

        impl Default for $models {
            fn default() -> Self {
                Self::sized(false)
            }
        }

        impl $crate::budget::Keep for $models {
            fn memory(&self) -> u64 {
                self.memory()
            }
        }

        #[allow(dead_code, reason = "not every grammar is asked for its memory, or has a small form")]
        #[allow(clippy::too_many_arguments, reason = "a symbol has as many as its contexts are made of")]
        impl $models {
            fn sized(small: bool) -> Self {
                $models {
                    $($model: {
                        const CONTEXTS: &[usize] = &[$([$(stringify!($context)),+].len()),+];
                        const _: () = $crate::code::assert_alike(CONTEXTS);
                        const BITS: &[u32] = &[$bits $(, $fewer)?];
                        $crate::code::Model::new(CONTEXTS[0], BITS[if small { BITS.len() - 1 } else { 0 }], $limit)
                    },)+
                }
            }
            /// For sites whose symbols are seldom asked for.
            pub fn small() -> Self {
                Self::sized(true)
            }
            /// Bytes of memory that the models hold.
            pub fn memory(&self) -> u64 {
                [$(self.$model.memory()),+].into_iter().sum()
            }
            $($(
                $crate::code::symbol!($model, $symbol, $kind $(($width))?, ($($arg: $type),*), [$($context),+], $(#[$about])*);
            )+)+
        }
    };
}

/// The method of one symbol.
macro_rules! symbol {
    ($model:ident, $symbol:ident, flag, $args:tt, $contexts:tt, $(#[$about:meta])*) => {
        $crate::code::symbol!(@ $model, $symbol, flag, bool, $args, $contexts, (), $(#[$about])*);
    };
    ($model:ident, $symbol:ident, tree($width:expr), $args:tt, $contexts:tt, $(#[$about:meta])*) => {
        $crate::code::symbol!(@ $model, $symbol, tree, u32, $args, $contexts, ($width,), $(#[$about])*);
    };
    ($model:ident, $symbol:ident, number, $args:tt, $contexts:tt, $(#[$about:meta])*) => {
        $crate::code::symbol!(@ $model, $symbol, number, u64, $args, $contexts, (), $(#[$about])*);
    };
    ($model:ident, $symbol:ident, signed, $args:tt, $contexts:tt, $(#[$about:meta])*) => {
        $crate::code::symbol!(@ $model, $symbol, signed, i64, $args, $contexts, (), $(#[$about])*);
    };
    ($model:ident, $symbol:ident, byte, $args:tt, $contexts:tt, $(#[$about:meta])*) => {
        $crate::code::symbol!(@ $model, $symbol, byte, u8, $args, $contexts, (), $(#[$about])*);
    };
    (@ $model:ident, $symbol:ident, $call:ident, $value:ty, ($($arg:ident: $type:ty),*), [$($context:expr),+],
        ($($width:expr,)?), $(#[$about:meta])*) => {
        $(#[$about])*
        #[inline]
        pub fn $symbol<S: $crate::code::Symbols>(&mut self, s: &mut S, $($arg: $type,)* value: $value) -> $value {
            // Contexts are made for a coder that has models.
            let contexts = if s.is_modelled() { [$($context),+] } else { [0; [$(stringify!($context)),+].len()] };
            s.$call(&mut self.$model, &contexts, $($width,)? value)
        }
    };
}

/// All symbols of one model have as many contexts as the first.
pub const fn assert_alike(contexts: &[usize]) {
    let mut i = 1;
    while i < contexts.len() {
        assert!(
            contexts[i] == contexts[0],
            "symbols of one model differ in contexts"
        );
        i += 1;
    }
}

pub(crate) use {symbol, symbols};
