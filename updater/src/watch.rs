//! How long work tells of itself and is told to stop.

/// Receives notes and progress; may ask for an end.
pub trait Watch: Sync {
    /// One line worth keeping in a log.
    fn note(&self, _line: &str) {}
    /// One line that is only of interest to who looks for the cause of something.
    fn detail(&self, _line: &str) {}
    /// `done` of `total` units of a stage.
    fn progress(&self, _stage: &str, _done: u64, _total: u64) {}
    /// Asked often; `true` ends the work with [`crate::Error::Cancelled`] in a consistent state.
    fn cancelled(&self) -> bool {
        false
    }
    /// Fails once a stop was asked for.
    fn check(&self) -> crate::Result<()> {
        if self.cancelled() {
            return Err(crate::Error::Cancelled);
        }
        Ok(())
    }
}

/// Passes bytes on until a stop is asked for; then every read and write fails with [`crate::Error::Cancelled`].
pub struct Heed<'a, T> {
    inner: T,
    watch: &'a dyn Watch,
}

impl<'a, T> Heed<'a, T> {
    /// Wraps a reader or a writer.
    pub fn new(inner: T, watch: &'a dyn Watch) -> Self {
        Heed { inner, watch }
    }
    fn ask(&self) -> std::io::Result<()> {
        match self.watch.cancelled() {
            true => Err(std::io::Error::other(crate::error::Stopped)),
            false => Ok(()),
        }
    }
}

impl<T: std::io::Read> std::io::Read for Heed<'_, T> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.ask()?;
        self.inner.read(bytes)
    }
}

impl<T: std::io::Write> std::io::Write for Heed<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.ask()?;
        self.inner.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Says nothing, never stops.
pub struct Quiet;
impl Watch for Quiet {}

/// Hands the wish to stop to the engine.
pub(crate) struct ForEngine<'a>(pub &'a dyn Watch);
impl elfdelta::Progress for ForEngine<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
