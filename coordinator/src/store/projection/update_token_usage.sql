UPDATE token_usage
SET
    input_tokens = u.used_in + u.cache_write + u.cache_read,
    output_tokens = u.used_out,
    cost_usd = u.micro_usd / 1000000.0
FROM wg_usage AS u
WHERE token_usage.id = :id AND u.lease_id = :lease AND u.model = :model
