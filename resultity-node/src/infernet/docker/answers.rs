//! Whether a container answers.

use std::time::Duration;

use url::Url;

/// How often it is asked.
const AGAIN: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Waits until something that speaks HTTP answers there, whatever it says. A connection alone is no sign: an engine takes
/// those before the container listens.
pub(super) async fn until_it_answers(client: &reqwest::Client, url: &Url) {
    while client.get(url.clone()).timeout(ANSWER).send().await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
}
