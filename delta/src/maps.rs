//! The maps of the standard library under a hash that is quick for small keys, and keyed anew for each run, so that no
//! file can be made to collide in them.

use foldhash::fast::RandomState;

/// A map; nothing may depend on its order.
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
/// A set; nothing may depend on its order.
pub type HashSet<T> = std::collections::HashSet<T, RandomState>;
