UPDATE plans
SET tasks_done = tasks_done + :tasks, updated_at = datetime(:now / 1000, 'unixepoch')
WHERE id = :plan
