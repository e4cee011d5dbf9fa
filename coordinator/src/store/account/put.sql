INSERT INTO wg_accounts (runner, account, state, trouble, until_ms, lease_id, tries, note)
VALUES (:runner, :account, :state, :trouble, :until_ms, :lease, :tries, :note)
ON CONFLICT (runner, account) DO UPDATE SET
    state = excluded.state,
    trouble = excluded.trouble,
    until_ms = excluded.until_ms,
    lease_id = excluded.lease_id,
    tries = excluded.tries,
    note = excluded.note
