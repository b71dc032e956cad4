//! Checks the books, in one read transaction: it sees one state, whatever is written meanwhile.

use rusqlite::Connection;

use super::audit_funds;
use crate::store::{AuditReport, StoreError};

/// The most findings of one check that are told in full.
const TOLD: usize = 20;

/// What to look for: each query gives one row of text, a sentence, per problem.
const CHECKS: &[&str] = &[
    // Every transaction sums to zero.
    "SELECT 'transaction ' || transaction_id || ' sums to ' || sum(amount) || ' instead of 0'
     FROM ledger_entries GROUP BY transaction_id HAVING sum(amount) <> 0",
    "SELECT 'an entry of ' || account || ' belongs to no transaction (' || transaction_id || ')'
     FROM ledger_entries WHERE transaction_id NOT IN (SELECT id FROM ledger_transactions)",
    // Balances are what the entries say.
    "SELECT 'the balance of ' || account || ' is ' || coalesce(balance, 'missing') || ', its entries sum to ' || total
     FROM (SELECT account, sum(amount) AS total FROM ledger_entries WHERE account NOT GLOB 'escrow:*' GROUP BY account)
     LEFT JOIN balances USING (account) WHERE coalesce(balance, 0) <> total",
    "SELECT 'the balance of ' || account || ' is ' || balance || ', but it has no entries'
     FROM balances WHERE balance <> 0 AND account NOT IN (SELECT account FROM ledger_entries)",
    "SELECT 'the balance of ' || account || ' is negative: ' || balance
     FROM balances WHERE balance < 0 AND account NOT GLOB 'issuance:*'",
    // A job that has not ended has exactly its hold, one that has ended nothing.
    "SELECT 'job ' || job || ' has ' || sum(amount) || ' in escrow instead of ' || sum(due)
     FROM (SELECT id AS job, CASE WHEN finished_at IS NULL THEN held ELSE 0 END AS due, 0 AS amount FROM jobs
           UNION ALL
           SELECT substr(account, 8), 0, amount FROM ledger_entries WHERE account GLOB 'escrow:*')
     GROUP BY job HAVING sum(amount) <> sum(due)",
    "SELECT DISTINCT account || ' belongs to no job' FROM ledger_entries
     WHERE account GLOB 'escrow:*' AND substr(account, 8) NOT IN (SELECT id FROM jobs)",
    // Every job has one hold, and one settlement or release if it has ended, none otherwise.
    "SELECT 'job ' || id || ' (' || state || ') has ' || holds || ' holds, ' || settlements || ' settlements and '
            || releases || ' releases'
     FROM (SELECT jobs.id, jobs.state, jobs.finished_at,
                  coalesce(sum(transactions.kind = 'hold'), 0) AS holds,
                  coalesce(sum(transactions.kind = 'settle'), 0) AS settlements,
                  coalesce(sum(transactions.kind = 'release'), 0) AS releases
           FROM jobs LEFT JOIN ledger_transactions AS transactions ON transactions.job = jobs.id GROUP BY jobs.id)
     WHERE holds <> 1 OR settlements + releases <> (finished_at IS NOT NULL)
        OR (state = 'succeeded' AND settlements <> 1)
        OR (state IN ('failed', 'expired') AND settlements <> 0)",
    // The hold is what the job says; what left it for good is what the job cost.
    "SELECT 'job ' || jobs.id || ' has a hold of ' || jobs.held || ', the ledger one of ' || -entries.amount
     FROM jobs JOIN ledger_transactions AS transactions ON transactions.job = jobs.id AND transactions.kind = 'hold'
     JOIN ledger_entries AS entries
       ON entries.transaction_id = transactions.id AND entries.account = 'namespace:' || jobs.namespace
     WHERE -entries.amount <> jobs.held",
    "SELECT 'job ' || id || ' cost ' || coalesce(cost, 'nothing yet') || ', but ' || paid || ' was paid'
     FROM (SELECT jobs.id, jobs.cost,
                  coalesce(sum(CASE WHEN entries.account GLOB 'node:*' OR entries.account GLOB 'network:*'
                                    THEN entries.amount END), 0) AS paid
           FROM jobs JOIN ledger_transactions AS transactions ON transactions.job = jobs.id
           LEFT JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id GROUP BY jobs.id)
     WHERE coalesce(cost, 0) <> paid",
    // A settlement has its receipt, nothing else has.
    "SELECT 'job ' || jobs.id || ' was settled, but its receipt is missing or differs'
     FROM ledger_transactions AS transactions JOIN jobs ON jobs.id = transactions.job
     LEFT JOIN receipts ON receipts.job = jobs.id AND receipts.cost = jobs.cost AND receipts.node = jobs.node
     WHERE transactions.kind = 'settle'
       AND (receipts.job IS NULL OR receipts.outcome <> CASE jobs.state WHEN 'succeeded' THEN 'complete' ELSE 'partial' END)",
    "SELECT 'job ' || receipts.job || ' has a receipt, but was not settled' FROM receipts
     WHERE receipts.job NOT IN (SELECT job FROM ledger_transactions WHERE kind = 'settle' AND job IS NOT NULL)",
    "SELECT 'in ' || environment || ' the node ' || node || ' earned ' || sum(earned) || ' points, the epochs have ' || sum(kept)
     FROM (SELECT jobs.environment, receipts.node, 0 AS kept,
                  receipts.prompt_tokens + receipts.completion_tokens AS earned
           FROM receipts JOIN jobs ON jobs.id = receipts.job
           UNION ALL SELECT environment, node, points, 0 FROM epoch_points)
     GROUP BY environment, node HAVING sum(earned) <> sum(kept)",
    // The two environments never mix.
    "SELECT 'transaction ' || transactions.id || ' of ' || transactions.environment || ' has an entry of '
            || entries.account
     FROM ledger_entries AS entries JOIN ledger_transactions AS transactions ON transactions.id = transaction_id
     LEFT JOIN namespaces ON namespaces.id = substr(entries.account, length('namespace:') + 1)
     WHERE CASE
         WHEN entries.account GLOB 'namespace:*' THEN namespaces.environment IS NOT transactions.environment
         WHEN entries.account GLOB 'node:*' THEN entries.account NOT GLOB 'node:' || transactions.environment || ':*'
         WHEN entries.account GLOB 'network:fees:*' THEN entries.account <> 'network:fees:' || transactions.environment
         WHEN entries.account GLOB 'issuance:*' THEN entries.account <> 'issuance:' || transactions.environment
         WHEN entries.account GLOB 'escrow:*' THEN 0
         ELSE 1
     END",
    "SELECT 'job ' || jobs.id || ' of ' || jobs.environment || ' is paid for by a namespace, key or transaction of another'
     FROM jobs JOIN namespaces ON namespaces.id = jobs.namespace JOIN keys ON keys.id = jobs.key
     JOIN ledger_transactions AS transactions ON transactions.job = jobs.id
     WHERE namespaces.environment <> jobs.environment OR keys.namespace <> jobs.namespace
        OR transactions.environment <> jobs.environment",
    // What a key with a limit has spent is what its jobs cost, and what those that have not ended hold. One that got its limit
    // later counts from then on; a minute on either side is left open, for the time is that of whoever wrote.
    "SELECT 'the key ' || id || ' has spent ' || spent || ', its jobs say ' || total
     FROM (SELECT keys.id, keys.spent, keys.limited_at,
                  coalesce(sum(CASE WHEN finished_at IS NULL THEN held ELSE cost END), 0) AS total,
                  coalesce(sum(CASE WHEN finished_at IS NULL THEN held
                                    WHEN jobs.created_at > keys.limited_at + 60000 THEN cost ELSE 0 END), 0) AS since
           FROM keys LEFT JOIN jobs ON jobs.key = keys.id WHERE keys.spend_limit IS NOT NULL GROUP BY keys.id)
     WHERE CASE WHEN limited_at IS NULL THEN spent <> total ELSE spent NOT BETWEEN since AND total END",
    // What is kept belongs to a job, and a job that goes on without its asker has what it needs.
    "SELECT 'what is kept of job ' || job || ' belongs to no job' FROM payloads WHERE job NOT IN (SELECT id FROM jobs)",
    "SELECT 'job ' || id || ' goes on without its asker, but what it needs for that is not kept' FROM jobs
     WHERE finished_at IS NULL AND detached <> 0
       AND NOT EXISTS (SELECT 1 FROM payloads WHERE payloads.job = jobs.id AND payloads.work <> '')",
    "SELECT 'an idempotency key of namespace ' || known.namespace || ' stands for no job of it (' || known.job || ')'
     FROM idempotency_keys AS known LEFT JOIN jobs ON jobs.id = known.job WHERE jobs.namespace IS NOT known.namespace
       AND NOT EXISTS (SELECT 1 FROM batches
                       WHERE batches.id = 'batch_' || replace(known.job, '-', '') AND batches.namespace = known.namespace)",
    "SELECT 'what is kept of job ' || payloads.job || ' counts for another namespace than its own'
     FROM payloads JOIN jobs ON jobs.id = payloads.job WHERE payloads.namespace <> jobs.namespace",
    // Counts are those of what they count.
    "SELECT 'namespace ' || id || ' keeps ' || kept_bytes || ' bytes, but there are ' || there
     FROM (SELECT id, kept_bytes,
                  coalesce((SELECT sum(octet_length(request) + octet_length(work) + coalesce(octet_length(answer), 0))
                            FROM payloads WHERE payloads.namespace = namespaces.id), 0)
                  + coalesce((SELECT sum(octet_length(text)) FROM batches JOIN batch_lines ON batch_lines.batch = batches.id
                              WHERE batches.namespace = namespaces.id), 0) AS there FROM namespaces)
     WHERE kept_bytes <> there",
    "SELECT 'webhook ' || id || ' has ' || pending || ' pending deliveries, but there are ' || there
     FROM (SELECT id, pending, (SELECT count(*) FROM webhook_deliveries
                                WHERE webhook = webhooks.id AND state = 'pending') AS there FROM webhooks)
     WHERE pending <> there",
    "SELECT 'file ' || id || ' has ' || bytes || ' bytes in ' || chunks || ' chunks, but there are ' || found || ' in ' || there
     FROM (SELECT files.id, files.bytes, files.chunks, count(content) AS there, coalesce(sum(length(content)), 0) AS found
           FROM files LEFT JOIN file_chunks ON file_chunks.file = files.id WHERE files.state = 'complete' GROUP BY files.id)
     WHERE bytes <> found OR chunks <> there",
    "SELECT 'batch ' || id || ' counts ' || completed || ' answers and ' || failed || ' errors, but has ' || answers || ' and '
            || errors
     FROM (SELECT batches.id, completed, batches.failed, coalesce(sum(lines.failed = 0), 0) AS answers,
                  coalesce(sum(lines.failed), 0) AS errors
           FROM batches LEFT JOIN batch_lines AS lines ON lines.batch = batches.id
           WHERE batches.ended_at IS NULL GROUP BY batches.id)
     WHERE completed <> answers OR failed <> errors",
    "SELECT 'a batch of namespace ' || batches.namespace || ' names the file ' || files.id || ' of another one'
     FROM batches JOIN files ON files.id IN (batches.input_file, batches.output_file, batches.error_file)
     WHERE files.namespace <> batches.namespace",
];

/// Reads everything once and tells what is wrong.
pub(super) fn run(connection: &Connection) -> Result<AuditReport, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let number = |sql: &str| -> Result<u64, StoreError> {
        let number: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    };
    let mut report = AuditReport {
        transactions: number("SELECT count(*) FROM ledger_transactions")?,
        entries: number("SELECT count(*) FROM ledger_entries")?,
        jobs: number("SELECT count(*) FROM jobs")?,
        open_holds: number("SELECT count(*) FROM jobs WHERE finished_at IS NULL")?,
        problems: Vec::new(),
    };
    for check in CHECKS.iter().chain(audit_funds::CHECKS) {
        let mut statement = transaction.prepare(check)?;
        let mut rows = statement.query([])?;
        let mut found = 0_usize;
        while let Some(row) = rows.next()? {
            if found < TOLD {
                report.problems.push(row.get(0)?);
            }
            found += 1;
        }
        if found > TOLD {
            report
                .problems
                .push(format!("… and {} more like the last one", found - TOLD));
        }
    }
    Ok(report)
}
