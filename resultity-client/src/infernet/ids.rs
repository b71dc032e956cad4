//! Long lists of ids, in as many requests as it takes.

use resultity_core::infernet::JobId;
use url::form_urlencoded::byte_serialize;

/// How long the ids of one URL may be: bytes. Servers take URLs of 64 KB at most.
const LONGEST: usize = 60_000;

/// Parts of the list whose ids fit into one URL each; one that is too long by itself stands alone.
pub(super) fn groups(ids: &[JobId]) -> impl Iterator<Item = &[JobId]> {
    let mut rest = ids;
    std::iter::from_fn(move || {
        let mut length = 0;
        let fits = rest.iter().take_while(|id| {
            length += "&id=".len() + byte_serialize(id.as_str().as_bytes()).map(str::len).sum::<usize>();
            length <= LONGEST
        });
        let count = fits.count().max(1).min(rest.len());
        let (group, later) = rest.split_at(count);
        rest = later;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_lost_and_no_group_is_too_long() {
        let ids: Vec<JobId> = (0..10_000)
            .map(|n| JobId::new(format!("01890a5d-ac96-774b-bcce-{n:012}")))
            .collect();
        let parts: Vec<&[JobId]> = groups(&ids).collect();
        assert_eq!(parts.concat(), ids);
        assert_eq!(parts.len(), 7);
        assert!(parts.iter().all(|part| part.len() * 40 <= LONGEST));
    }

    #[test]
    fn escapes_count_and_an_id_that_is_too_long_stands_alone() {
        let ids = ["a", &"&".repeat(LONGEST / 3), "b", "c"].map(JobId::from);
        let parts: Vec<usize> = groups(&ids).map(<[JobId]>::len).collect();
        assert_eq!(parts, [1, 1, 2]);
        assert_eq!(groups(&[]).count(), 0);
    }
}
