//! Models that go on from one image of a group to the next: lent to a stage, and kept when it has done with them.

use super::Budget;
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

/// Models that can be kept.
pub trait Keep: Default + 'static {
    /// Bytes of memory that they hold.
    fn memory(&self) -> u64;
}

/// What is kept, at most one of each type.
#[derive(Default)]
pub(super) struct Kept {
    on: Cell<bool>,
    models: RefCell<Vec<(TypeId, Box<dyn Any>)>>,
}

impl Budget<'_> {
    /// Keeps and lends models from here on, or lets them lie.
    pub fn keep(&self, on: bool) {
        self.kept.on.set(on);
    }

    /// Whether models are kept: the streams of an image go on behind it, too.
    pub fn keeps(&self) -> bool {
        self.kept.on.get()
    }

    /// Models as they were left, or new ones where none are kept.
    pub fn lend<T: Keep>(&self) -> Lent<'_, T> {
        let mut kept = self.kept.models.borrow_mut();
        let mut all = kept.iter().take_while(|_| self.keeps());
        let found = all.position(|(id, _)| *id == TypeId::of::<T>());
        let models = found.map(|at| kept.swap_remove(at).1);
        let models: T = models
            .and_then(|m| m.downcast().ok())
            .map_or_else(T::default, |m| *m);
        if found.is_some() {
            self.held.set(self.held.get().saturating_sub(models.memory()));
        }
        Lent {
            models: Some(models),
            budget: self,
        }
    }
}

/// Models at work; dropped, they are kept, and their memory stays counted.
pub struct Lent<'b, T: Keep> {
    /// There until it is dropped.
    models: Option<T>,
    budget: &'b Budget<'b>,
}

impl<T: Keep> Deref for Lent<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        let models = self.models.as_ref();
        models.unwrap_or_else(|| unreachable!("they are taken when this is dropped"))
    }
}

impl<T: Keep> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let models = self.models.as_mut();
        models.unwrap_or_else(|| unreachable!("they are taken when this is dropped"))
    }
}

impl<T: Keep> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let budget = self.budget;
        let Some(models) = self.models.take().filter(|_| budget.keeps()) else {
            return;
        };
        // Where that is too much, whoever asks for memory next is refused.
        let now = budget.held.get().saturating_add(models.memory());
        budget.held.set(now);
        budget.peak.set(budget.peak.get().max(now));
        let mut kept = budget.kept.models.borrow_mut();
        kept.push((TypeId::of::<T>(), Box::new(models)));
    }
}
