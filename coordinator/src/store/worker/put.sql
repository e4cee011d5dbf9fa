INSERT INTO wg_workers (
    id, instance, name, host, version, roles, runners, labels, slots, draining, first_seen_ms, last_seen_ms
) VALUES (
    :id, :instance, :name, :host, :version, :roles, :runners, :labels, :slots, :draining, :first_seen_ms, :last_seen_ms
)
ON CONFLICT (id) DO UPDATE SET
    instance = excluded.instance,
    name = excluded.name,
    host = excluded.host,
    version = excluded.version,
    roles = excluded.roles,
    runners = excluded.runners,
    labels = excluded.labels,
    slots = excluded.slots,
    draining = excluded.draining,
    last_seen_ms = excluded.last_seen_ms
