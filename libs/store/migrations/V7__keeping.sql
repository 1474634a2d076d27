-- Delegations that are kept: looked at again and listed anew by themselves; and alerts. The version before goes on working beside
-- this one: every column has a default, and what was applied by it has the defaults of a tenant's file. Nothing begins by itself at once: what is
-- kept already counts as looked at and listed when this is migrated.

ALTER TABLE tenant
    ADD COLUMN verify_every_millis bigint NOT NULL DEFAULT 604800000, -- 0: never
    ADD COLUMN drift text NOT NULL DEFAULT 'report',
    ADD COLUMN list_every_millis bigint NOT NULL DEFAULT 86400000, -- 0: never
    ADD COLUMN joiners text NOT NULL DEFAULT 'add',
    ADD COLUMN leavers text NOT NULL DEFAULT 'report',
    ADD COLUMN watch_every_millis bigint NOT NULL DEFAULT 3600000, -- 0: never
    ADD COLUMN group_members text[] NOT NULL DEFAULT '{}',
    ADD COLUMN group_owners text[] NOT NULL DEFAULT '{}';

-- What it does by itself: verify (behind everything else), list, leave. Empty: somebody asked for it.
ALTER TABLE operation ADD COLUMN keeping text NOT NULL DEFAULT '';

ALTER TABLE coverage
    ADD COLUMN selected boolean NOT NULL DEFAULT true, -- by what the delegation selects; false: it was named, whatever is selected
    ADD COLUMN looked_at timestamptz, -- when it last had its turn to be looked at by itself
    ADD COLUMN missing_since timestamptz, -- it wasn't selected any more at the last complete listing
    ADD COLUMN departed_at timestamptz; -- it was last tried to take it away for that

-- Whom a listing that compares came across and didn't exclude. Gone with its end.
CREATE TABLE operation_seen (
    operation_id uuid NOT NULL,
    mailbox uuid NOT NULL,
    PRIMARY KEY (operation_id, mailbox)
);

CREATE TABLE kept (
    delegation_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    paced_to timestamptz NOT NULL, -- up to when its mailboxes had their turns
    verify_id uuid, -- the last operation of each sort
    listed_at timestamptz NOT NULL, -- when the last listing began
    list_id uuid,
    leave_id uuid,
    missing bigint NOT NULL DEFAULT 0, -- covered, and not in the last complete listing
    unconfirmed boolean NOT NULL DEFAULT false, -- some of these are missing for the first time
    mailboxes bigint NOT NULL DEFAULT 0, -- covered
    oldest_verified_at timestamptz,
    measured_at timestamptz -- when those two were counted
) WITH (fillfactor = 70);
INSERT INTO kept (delegation_id, tenant, paced_to, listed_at) SELECT id, tenant, now(), now() FROM delegation WHERE policy = 'keep';

CREATE TABLE alert (
    id uuid PRIMARY KEY, -- begins with the time it was raised
    tenant text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    text text NOT NULL,
    delegation_id uuid,
    operation_id uuid,
    raised_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    ended_at timestamptz, -- it is not so any more
    acknowledged_by text NOT NULL DEFAULT '',
    acknowledged_at timestamptz,
    ticket text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX alert_present ON alert (tenant, kind, subject) WHERE ended_at IS NULL;
CREATE INDEX alert_open ON alert (id) WHERE acknowledged_at IS NULL;

-- Delegation groups, and when it was looked last who is in them.
CREATE TABLE watched_group (
    tenant text NOT NULL,
    site text NOT NULL,
    address text NOT NULL,
    looked_at timestamptz,
    claimed_until timestamptz,
    PRIMARY KEY (tenant, site, address)
);
