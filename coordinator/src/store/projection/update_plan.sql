UPDATE plans
SET
    status = :status,
    updated_at = datetime(:now / 1000, 'unixepoch'),
    started_at = CASE WHEN :status = 'doing' THEN coalesce(started_at, datetime(:now / 1000, 'unixepoch')) ELSE started_at END,
    completed_at = CASE WHEN :status = 'done' THEN datetime(:now / 1000, 'unixepoch') END,
    cancelled_at = CASE WHEN :status = 'cancelled' THEN datetime(:now / 1000, 'unixepoch') END
WHERE id = :plan AND status <> :status
