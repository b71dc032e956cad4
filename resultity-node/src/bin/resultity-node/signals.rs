//! Running until somebody says stop.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// Runs this until it ends. The first signal cancels it, so that it finishes what runs; the second ends it at once, which is
/// logged with what becomes of running jobs.
pub(crate) async fn until_stopped<E: Send + 'static>(
    work: impl Future<Output = Result<(), E>> + Send + 'static,
    cancel: CancellationToken,
    at_once: &str,
) -> Result<(), E> {
    // On a worker thread: the main thread would have to be woken for every frame.
    let mut work = tokio::spawn(work);
    tokio::select! {
        result = &mut work => return ended(result),
        () = stop_signal() => cancel.cancel(),
    }
    tokio::select! {
        result = work => ended(result),
        () = stop_signal() => {
            tracing::warn!("stopped at once; {at_once}");
            Ok(())
        }
    }
}

/// What the task says; a panic in it goes on.
fn ended<E>(result: Result<Result<(), E>, tokio::task::JoinError>) -> Result<(), E> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Ctrl-C, or the signal that service managers send.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without signals only the process itself can end it.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
