//! The lock of a repository in a bucket: an object that its holder writes anew every few seconds.
//!
//! No clock is compared with another's. Who finds the object looks at it for as long as a lease lasts: if it changes,
//! its holder is alive; if not, its holder was killed, and the object is replaced on condition that it is still the
//! same. A holder that could not renew for that long says so before it signs or removes anything.

use super::Hold;
use super::remote::{Expect, Outcome, Remote};
use crate::{Error, Result, Watch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long a lease lasts without being renewed, and the time between renewals.
const LASTS: Duration = Duration::from_secs(20);
const RENEW: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_secs(1);

/// Holds the lock until dropped.
pub(super) struct Lease {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    remote: Arc<Remote>,
    path: String,
    /// Who holds it: no other lease has the same.
    token: String,
    renewed: Mutex<Instant>,
    lost: AtomicBool,
}

impl Lease {
    /// Takes the lock; fails with [`Error::Busy`] if somebody alive has it.
    pub fn take(remote: &Arc<Remote>, path: &str, patient: bool, watch: &dyn Watch) -> Result<Lease> {
        let token = crate::random::name()?;
        let began = Instant::now();
        let version = remote.wait(watch, obtain(remote, path, &token, patient, watch))??;
        let shared = Arc::new(Shared {
            remote: Arc::clone(remote),
            path: path.to_owned(),
            token,
            renewed: Mutex::new(began.max(Instant::now() - LASTS / 4)),
            lost: AtomicBool::new(false),
        });
        let task = remote.spawn(renew(Arc::clone(&shared), version));
        Ok(Lease { shared, task })
    }
}

impl Hold for Lease {
    fn still(&self) -> Result<()> {
        let shared = &self.shared;
        let renewed = *shared.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.lost.load(Ordering::Relaxed) || renewed.elapsed() >= LASTS {
            true => Err(Error::Overtaken(format!(
                "the lease of {} could not be renewed",
                shared.remote.name
            ))),
            false => Ok(()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
        let Shared {
            remote, path, token, ..
        } = &*self.shared;
        let task = &mut self.task;
        let give_back = async {
            let _ = task.await;
            // Only one's own; between the look and the removal nobody takes it, as it is fresh.
            if let Ok(Some((found, _))) = remote.read(path).await
                && found.starts_with(token.as_bytes())
            {
                let _ = remote.remove(path).await;
            }
        };
        // What cannot be given back runs out.
        let _ = remote.wait(&crate::Quiet, async { timeout(LASTS / 4, give_back).await });
    }
}

/// Waits until the lock is free or given up; tells the version of what was written.
async fn obtain(
    remote: &Remote,
    path: &str,
    token: &str,
    patient: bool,
    watch: &dyn Watch,
) -> Result<String> {
    let text = format!("{token} 0\n");
    let mut expect = Expect::Nothing;
    loop {
        if let Outcome::Done(version) = remote.put(path, text.as_bytes(), expect).await? {
            return Ok(version);
        }
        let Some((_, version)) = remote.read(path).await? else {
            expect = Expect::Nothing;
            continue;
        };
        if !patient {
            return Err(Error::Busy(remote.name.clone()));
        }
        let begin = Instant::now();
        watch.note(&format!(
            "{}/{path} is held; looking whether its holder lives",
            remote.name
        ));
        expect = loop {
            sleep(LOOK).await;
            match remote.read(path).await? {
                None => break Expect::Nothing,
                Some((_, now)) if now != version => return Err(Error::Busy(remote.name.clone())),
                Some(_) if begin.elapsed() > LASTS => break Expect::Version(version),
                Some(_) => {}
            }
        };
    }
}

/// Writes the object anew until another has taken it.
async fn renew(shared: Arc<Shared>, mut version: String) {
    for count in 1_u64.. {
        sleep(RENEW).await;
        let began = Instant::now();
        let text = format!("{} {count}\n", shared.token);
        let put = shared
            .remote
            .put(&shared.path, text.as_bytes(), Expect::Version(version.clone()));
        match put.await {
            Ok(Outcome::Done(now)) => {
                version = now;
                *shared.renewed.lock().unwrap_or_else(PoisonError::into_inner) = began;
            }
            Ok(Outcome::Other) => {
                shared.lost.store(true, Ordering::Relaxed);
                return;
            }
            // The bucket is away: it may come back before anybody else can take the lock.
            Err(_) => {}
        }
    }
}
