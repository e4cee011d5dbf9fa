INSERT INTO plans (id, project_id, name, source_file, status, tasks_total, created_at, updated_at, description)
SELECT
    p.id,
    'wavegate',
    p.name,
    p.file_name,
    'todo',
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id),
    datetime(:now / 1000, 'unixepoch'),
    datetime(:now / 1000, 'unixepoch'),
    json_extract(x.head, '$.description')
FROM wg_plans AS p
INNER JOIN wg_plan_texts AS x ON x.plan_id = p.id
WHERE p.id = :plan
