//! What the audit looks for among credits that moved beside jobs: each query gives one row of text, a sentence, per problem.

/// The checks.
pub(super) const CHECKS: &[&str] = &[
    // Transfers, faucet, vouchers, payments and payouts: their tables and the ledger say the same, line by line.
    "WITH said (kind, reference, account, amount) AS (
         SELECT 'transfer', id, 'namespace:' || source, -amount FROM transfers
         UNION ALL SELECT 'transfer', id, 'namespace:' || target, amount FROM transfers
         UNION ALL SELECT 'faucet', account || ':' || day, 'namespace:' || namespace, amount FROM faucet_claims
         UNION ALL SELECT 'faucet', account || ':' || day, 'issuance:testnet', -amount FROM faucet_claims
         UNION ALL SELECT 'voucher', voucher || ':' || account, 'namespace:' || namespace, amount
                   FROM voucher_redemptions JOIN vouchers ON vouchers.id = voucher
         UNION ALL SELECT 'voucher', voucher || ':' || account, 'issuance:' || environment, -amount
                   FROM voucher_redemptions JOIN vouchers ON vouchers.id = voucher
         UNION ALL SELECT 'payment', id, 'namespace:' || namespace, amount FROM payments
         UNION ALL SELECT 'payment', id, 'issuance:' || environment, -amount FROM payments
         UNION ALL SELECT 'payout', id, 'namespace:' || namespace, amount FROM payouts
         UNION ALL SELECT 'payout', id, 'node:' || environment || ':' || node, -amount FROM payouts
     ), written (kind, reference, account, amount) AS (
         SELECT transactions.kind, transactions.reference, entries.account, entries.amount
         FROM ledger_transactions AS transactions JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id
         WHERE transactions.kind IN ('transfer', 'faucet', 'voucher', 'payment', 'payout')
     )
     SELECT 'the ' || kind || ' ' || reference || ' is not in the ledger as it was made: ' || account || ' should have ' || amount
     FROM (SELECT * FROM said EXCEPT SELECT * FROM written)
     UNION ALL
     SELECT 'the ledger has a ' || kind || ' ' || reference || ' that was never made: ' || account || ' has ' || amount
     FROM (SELECT * FROM written EXCEPT SELECT * FROM said)",
    // Nothing leaves an account but by its own payments for jobs.
    "SELECT 'the transfer ' || transfers.id || ' is not between namespaces of its account and environment'
     FROM transfers LEFT JOIN namespaces AS source ON source.id = transfers.source
     LEFT JOIN namespaces AS target ON target.id = transfers.target
     WHERE source.account IS NOT transfers.account OR target.account IS NOT transfers.account
        OR source.environment IS NOT transfers.environment OR target.environment IS NOT transfers.environment",
    "SELECT 'the ' || moved.kind || ' ' || moved.id || ' went to a namespace of another account or environment'
     FROM (SELECT 'faucet' AS kind, account || ':' || day AS id, account, namespace, 'testnet' AS environment
           FROM faucet_claims
           UNION ALL SELECT 'voucher', voucher || ':' || account, account, namespace, environment
                     FROM voucher_redemptions JOIN vouchers ON vouchers.id = voucher
           UNION ALL SELECT 'payout', id, account, namespace, environment FROM payouts) AS moved
     LEFT JOIN namespaces ON namespaces.id = moved.namespace
     WHERE namespaces.account IS NOT moved.account OR namespaces.environment IS NOT moved.environment",
    "SELECT 'the voucher ' || id || ' counts ' || uses || ' uses of ' || max_uses || ', but there are ' || there
     FROM (SELECT id, uses, max_uses,
                  (SELECT count(*) FROM voucher_redemptions WHERE voucher = vouchers.id) AS there FROM vouchers)
     WHERE uses <> there OR there > max_uses",
    // What undoes a transaction is the opposite of it; of a settlement the payer has what the job cost.
    "WITH undone (correction, transaction_id) AS (
         SELECT id, CAST(substr(reference, length('transaction:') + 1) AS INTEGER) FROM ledger_transactions
         WHERE kind = 'correction' AND reference GLOB 'transaction:*'
     )
     SELECT 'the correction ' || correction || ' does not undo transaction ' || transaction_id || ': ' || account
            || ' is left with ' || sum(amount)
     FROM (SELECT correction, undone.transaction_id, entries.account, entries.amount
           FROM undone JOIN ledger_entries AS entries ON entries.transaction_id IN (undone.correction, undone.transaction_id)
           JOIN ledger_transactions AS transactions ON transactions.id = undone.transaction_id
           WHERE transactions.kind <> 'settle' OR entries.account GLOB 'node:*' OR entries.account GLOB 'network:*')
     GROUP BY correction, transaction_id, account HAVING sum(amount) <> 0",
    "SELECT 'the correction ' || id || ' undoes a transaction that is not there or cannot be undone'
     FROM ledger_transactions AS corrections
     WHERE kind = 'correction' AND reference GLOB 'transaction:*' AND NOT EXISTS (
         SELECT 1 FROM ledger_transactions AS transactions
         WHERE transactions.id = CAST(substr(corrections.reference, length('transaction:') + 1) AS INTEGER)
           AND transactions.id < corrections.id AND transactions.kind NOT IN ('hold', 'release'))",
    // A hold is for a job that is there: whatever else belongs to no job.
    "SELECT 'transaction ' || id || ' is a ' || kind || CASE WHEN job IS NULL THEN ' without a job' ELSE ' of a job' END
     FROM ledger_transactions
     WHERE (job IS NULL) = (kind IN ('hold', 'settle', 'release'))
        OR kind NOT IN ('hold', 'settle', 'release', 'grant', 'transfer', 'faucet', 'voucher', 'payment', 'correction', 'payout')",
    // What a namespace is shown is all that there is.
    "SELECT 'transaction ' || transaction_id || ' is not shown where it belongs, in the ledger of ' || account
     FROM (SELECT transactions.id AS transaction_id, entries.account AS account
           FROM ledger_transactions AS transactions JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id
           WHERE transactions.job IS NULL AND entries.account GLOB 'namespace:*'
           EXCEPT SELECT transaction_id, 'namespace:' || namespace FROM namespace_moves)
     UNION ALL
     SELECT 'transaction ' || transaction_id || ' is shown in the ledger of ' || account || ', where it does not belong'
     FROM (SELECT transaction_id, 'namespace:' || namespace AS account FROM namespace_moves
           EXCEPT
           SELECT transactions.id, entries.account
           FROM ledger_transactions AS transactions JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id
           WHERE transactions.job IS NULL)",
];
