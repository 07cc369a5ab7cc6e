//! Threads for work that needs more stack than its caller may have.

/// Runs `job` on a thread with a stack of so many bytes; `None` if there can be no such thread, or
/// if it panics.
pub(crate) fn on_own_thread<T: Send>(stack_bytes: usize, job: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("roomy".to_owned())
            .stack_size(stack_bytes)
            .spawn_scoped(scope, job)
            .ok()?;
        thread.join().ok()
    })
}
