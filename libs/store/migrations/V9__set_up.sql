-- Set-up: what a site is set up with, the runs of it with their steps, and passwords that are sealed elsewhere. The version before goes
-- on working beside this one: it reads and writes none of these, and takes a site's set-up away when it applies a tenant.

CREATE TABLE site_setup (
    tenant text NOT NULL,
    kind text NOT NULL,
    account_count integer NOT NULL,
    without integer[] NOT NULL,
    name_pattern text NOT NULL,
    display_name text NOT NULL,
    usage_location text,
    sku text,
    organizational_unit text,
    group_address text NOT NULL,
    group_name text NOT NULL,
    group_owners text[] NOT NULL,
    managed text[] NOT NULL, -- who makes accounts, licences, group, members
    password_folder text,
    kubernetes_secret text,
    password_days integer,
    PRIMARY KEY (tenant, kind),
    FOREIGN KEY (tenant, kind) REFERENCES site ON DELETE CASCADE
);

CREATE TABLE set_up (
    id uuid PRIMARY KEY, -- begins with the time of acceptance
    tenant text NOT NULL,
    site text NOT NULL,
    aim text NOT NULL,
    validate_only boolean NOT NULL, -- it is only looked
    by_caller boolean NOT NULL, -- whoever asked carries it out
    state text NOT NULL,
    note text NOT NULL DEFAULT '', -- why nothing of it can be done
    requested_by text NOT NULL,
    request_id text NOT NULL, -- empty: none
    canonical text NOT NULL,
    ticket text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    not_before timestamptz NOT NULL, -- it is due then
    claim uuid,
    claimed_until timestamptz
);
-- A site has one at a time that changes something.
CREATE UNIQUE INDEX set_up_unfinished ON set_up (tenant, site) WHERE ended_at IS NULL AND NOT validate_only;
CREATE UNIQUE INDEX set_up_request ON set_up (tenant, requested_by, request_id) WHERE request_id <> '';
CREATE INDEX set_up_due ON set_up (not_before) WHERE ended_at IS NULL;

CREATE TABLE set_up_step (
    set_up_id uuid NOT NULL REFERENCES set_up,
    step text NOT NULL,
    position integer NOT NULL,
    state text NOT NULL,
    says text NOT NULL,
    script text NOT NULL,
    did text[] NOT NULL,
    action text, -- the last one
    action_end text,
    action_at timestamptz,
    since timestamptz,
    not_before timestamptz,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (set_up_id, step)
);

-- Sealed by those who have the key; nobody can open them here.
CREATE TABLE sealed_secret (
    name text PRIMARY KEY,
    sealed bytea, -- in effect
    made_by uuid, -- the set-up that made it
    pending bytea, -- about to come into effect
    pending_by uuid,
    settled_at timestamptz, -- since when what is in effect is
    changed_at timestamptz NOT NULL
);
