INSERT INTO wg_usage (
    lease_id, model, used_in, used_out, cache_read, cache_write, micro_usd, cost_source, price_date, calls, at_ms
) VALUES (
    :lease, :model, :used_in, :used_out, :cache_read, :cache_write, :micro_usd, :cost_source, :price_date, :calls, :now
)
ON CONFLICT (lease_id, model) DO UPDATE SET
    used_in = excluded.used_in,
    used_out = excluded.used_out,
    cache_read = excluded.cache_read,
    cache_write = excluded.cache_write,
    micro_usd = excluded.micro_usd,
    cost_source = excluded.cost_source,
    price_date = excluded.price_date,
    calls = excluded.calls,
    at_ms = excluded.at_ms
