//! The command that goes back: to the deployment that ran before, or through a kept reverse delta.

use super::compare::{OTHER_TIME, Whose};
use super::local::Carried;
use super::notes::Note;
use super::reserve::Reservation;
use super::reverse::{Keeper, Undo, WayBack};
use super::update::Runs;
use super::{Deployment, Site};
use crate::apart::Apart;
use crate::{Digest, Error, Result, Watch};
use elfdelta::Limits;

impl Site {
    /// Goes back to the deployment that ran before, or through a kept reverse delta. Needs no network.
    ///
    /// Configuration stays as it is now.
    pub fn rollback(&self, watch: &dyn Watch) -> Result<Runs> {
        let _stage = tracing::info_span!("rollback").entered();
        self.rename_objects(watch)?;
        let current = self.current()?;
        let there = |p: &Digest| Some(*p) != current && self.deployments.at(p).exists();
        let back = match self.previous()?.filter(there) {
            Some(previous) => self.back_to(&previous, watch)?,
            None => self.back_by_deltas(watch)?,
        };
        // After the switch: a rollback that failed leaves the trial as it was.
        self.notes.remove(Note::Trial)?;
        Ok(back)
    }

    fn back_to(&self, previous: &Digest, watch: &dyn Watch) -> Result<Runs> {
        let manifest = self.deployments.manifest(previous)?;
        let tree = self.deployments.tree(previous);
        let differences = self.compare(&tree, &manifest, watch).differences(Whose::Theirs)?;
        if let Some(first) = differences.iter().find(|d| d.what != OTHER_TIME) {
            return Err(Error::Damaged(format!(
                "the previous release: {}: {}",
                first.path, first.what
            )));
        }
        let configuration = self.go_back(previous, watch)?;
        Ok(Runs {
            release: manifest.header.release,
            configuration,
        })
    }

    fn go_back(&self, to: &Digest, watch: &dyn Watch) -> Result<Carried> {
        let configuration = self.local(watch).bring(to)?;
        self.switch().to(to)?;
        Ok(configuration)
    }

    /// Rebuilds the old release from the running one and switches to it.
    fn back_by_deltas(&self, watch: &dyn Watch) -> Result<Runs> {
        let way = WayBack::from(&self.path("reverse"), self.current()?)?;
        let way = way.ok_or_else(|| Error::NotFound("an earlier release on the disk".into()))?;
        let (digest, manifest) = way.target()?;
        let undo = Undo {
            objects: &self.objects,
            index: self.index(watch)?,
            reservation: Reservation::take(self.partial.dir(), way.room(&manifest), self.config.reserve)?,
            apart: Apart::new(self.decoder.clone(), Limits::default().memory),
            watch,
        };
        undo.rebuild(&manifest, &way)?;
        self.deployer(watch).deploy(&manifest, &digest)?;
        let configuration = self.go_back(&digest, watch)?;
        way.remove()?;
        Ok(Runs {
            release: manifest.header.release,
            configuration,
        })
    }

    /// Release that a kept way back leads to, and whether this elfup can read it.
    pub fn way_back(&self) -> Result<Option<(String, bool)>> {
        let way = match self.current()? {
            None => None,
            current => WayBack::from(&self.path("reverse"), current)?,
        };
        Ok(way.map(|way| (way.release().to_owned(), way.is_readable())))
    }

    /// Replaces the previous deployment by a kept way back; it stays whole if that cannot be made.
    pub(super) fn replace_by_reverse(&self, old: &Deployment, watch: &dyn Watch) -> Result<bool> {
        let Some(current) = self.current()? else {
            return Ok(false);
        };
        let replace = || {
            let keeper = Keeper {
                dir: self.path("reverse"),
                deployments: &self.deployments,
                index: self.index(watch)?,
                watch,
            };
            keeper.keep(&old.manifest, &current)?;
            self.switch().forget_previous()?;
            self.deployments.drop(&old.manifest, watch)
        };
        match replace() {
            Ok(()) => Ok(true),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(e) => {
                watch.note(&format!(
                    "no reverse delta, so the previous release stays whole: {e}"
                ));
                Ok(false)
            }
        }
    }
}
