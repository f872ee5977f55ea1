//! The updater: signed releases, measured choice, atomic deployment. Public types only for now.
