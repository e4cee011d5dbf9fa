INSERT INTO wg_waves (plan_id, ix, key, spec, first_task, task_count)
VALUES (:plan, :ix, :key, :spec, :first_task, :task_count)
