UPDATE wg_plans
SET
    estimated_standard_tokens = :standard_tokens,
    estimated_standard_micro_usd = :standard_micro_usd,
    estimated_max_tokens = :max_tokens,
    estimated_max_micro_usd = :max_micro_usd,
    estimated_coordinator_tokens = :coordinator_tokens,
    estimated_prices_date = :prices_date
WHERE id = :id
