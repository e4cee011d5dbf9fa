INSERT INTO wg_plans (
    name, state, file_name, submitted_by, base, tree, budget_tokens, budget_micro_usd, created_ms
) VALUES (
    :name, 'awaiting_approval', :file_name, :by, :base, :base, :budget_tokens, :budget_micro_usd, :now
)
