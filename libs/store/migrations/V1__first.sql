-- The first 48 bits of operation and job ids are the time of acceptance, so both tables can be partitioned by id later on.

CREATE TABLE fleet_version (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version bigint NOT NULL);
INSERT INTO fleet_version (version) VALUES (1);

CREATE TABLE tenant (
    name text PRIMARY KEY,
    display_name text NOT NULL,
    etag text NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE site (
    tenant text NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind text NOT NULL,
    position int NOT NULL,
    directory_id text NOT NULL,
    login_url text NOT NULL,
    graph_url text NOT NULL,
    admin_url text NOT NULL,
    write_path text NOT NULL,
    park_first_millis bigint NOT NULL,
    park_limit_millis bigint NOT NULL,
    PRIMARY KEY (tenant, kind)
);

CREATE TABLE account (
    tenant text NOT NULL,
    site text NOT NULL,
    name text NOT NULL,
    position int NOT NULL,
    purposes text[] NOT NULL,
    client_id text NOT NULL,
    credential text[] NOT NULL, -- kind, then pairs of env|file and name
    in_flight int NOT NULL,
    window_calls int[] NOT NULL,
    window_millis bigint[] NOT NULL,
    workers int NOT NULL,
    PRIMARY KEY (tenant, site, name),
    FOREIGN KEY (tenant, site) REFERENCES site ON DELETE CASCADE
);

-- Outlives a re-application of the tenant's file.
CREATE TABLE account_pause (
    tenant text NOT NULL,
    site text NOT NULL,
    account text NOT NULL,
    reason text NOT NULL,
    paused_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, site, account)
);

-- What an operator wants of an account; nothing here: it works.
CREATE TABLE account_stand (
    tenant text NOT NULL,
    site text NOT NULL,
    account text NOT NULL,
    stand text NOT NULL, -- paused or draining
    reason text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, site, account)
);

CREATE TABLE delegation (
    id uuid PRIMARY KEY,
    tenant text NOT NULL REFERENCES tenant,
    selector_kind text NOT NULL,
    selector_value text NOT NULL,
    exclude_groups text[] NOT NULL,
    exclude_mailboxes text[] NOT NULL,
    mailbox_types text[] NOT NULL,
    trustee_sites text[] NOT NULL,
    trustee_addresses text[] NOT NULL,
    role text NOT NULL,
    lower_higher boolean NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX delegation_by_tenant ON delegation (tenant, id DESC);

CREATE TABLE operation (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    delegation_id uuid NOT NULL,
    state text NOT NULL,
    lane text NOT NULL,
    validate_only boolean NOT NULL,
    accepted bigint NOT NULL DEFAULT 0,
    added bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    left_higher bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    unconfirmed bigint NOT NULL DEFAULT 0,
    merged_lines bigint NOT NULL DEFAULT 0,
    excluded bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0, -- made to Exchange, by all its jobs
    failure text NOT NULL DEFAULT '',
    failure_text text NOT NULL DEFAULT '',
    waiting_for text NOT NULL DEFAULT '',
    requested_by text NOT NULL,
    ticket text NOT NULL,
    traceparent text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    sequence bigint NOT NULL DEFAULT 1,
    listing_owner text,
    listing_until timestamptz,
    ending boolean NOT NULL DEFAULT false -- jobs that have not begun are still to be ended
);
CREATE INDEX operation_by_tenant ON operation (tenant, id DESC);
CREATE INDEX operation_to_list ON operation (id) WHERE state IN ('accepted', 'listing');
CREATE INDEX operation_active ON operation (tenant, lane) WHERE state IN ('listing', 'running', 'cancelling');
CREATE INDEX operation_ending ON operation (id) WHERE ending;

CREATE INDEX operation_cancelled ON operation (ended_at) WHERE state IN ('cancelling', 'cancelled');

CREATE TABLE request (
    tenant text NOT NULL,
    caller text NOT NULL,
    request_id text NOT NULL,
    canonical text NOT NULL,
    operation_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, caller, request_id)
);

CREATE TABLE operation_exclusion (
    operation_id uuid NOT NULL,
    mailbox uuid NOT NULL,
    met boolean NOT NULL DEFAULT false, -- the listing came across it
    PRIMARY KEY (operation_id, mailbox)
);

CREATE TABLE mailbox_list (
    id uuid PRIMARY KEY,
    tenant text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE mailbox_list_name (
    list_id uuid NOT NULL, -- of a mailbox_list; no constraint, which would be looked up for every name
    first_line int NOT NULL,
    address text NOT NULL,
    lines int[] NOT NULL,
    PRIMARY KEY (list_id, first_line)
);

-- Jobs of an operation lie together: their ids begin as its own does, so the primary key finds them.
CREATE TABLE job (
    id uuid PRIMARY KEY,
    operation_id uuid NOT NULL,
    tenant text NOT NULL,
    site text NOT NULL,
    lane text NOT NULL,
    mailbox uuid NOT NULL,
    name text NOT NULL,
    address text NOT NULL,
    licensed boolean,
    lines int[] NOT NULL,
    trustee text NOT NULL,
    role text NOT NULL,
    lower_higher boolean NOT NULL,
    validate_only boolean NOT NULL,
    state text NOT NULL,
    not_before timestamptz NOT NULL,
    waiting text NOT NULL DEFAULT '',
    phase text NOT NULL DEFAULT 'grant',
    delivery int NOT NULL DEFAULT 0, -- how often it was handed out
    answered int NOT NULL DEFAULT 0, -- the last of these that was answered
    published_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    parks int NOT NULL DEFAULT 0,
    proofs int NOT NULL DEFAULT 0,
    begun_at timestamptz,
    before_rights text, -- of a begun job; null: there was no entry
    accepted_at timestamptz NOT NULL,
    outcome text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    server_code text NOT NULL DEFAULT '',
    server_text text NOT NULL DEFAULT '',
    request_id text NOT NULL DEFAULT '',
    account text NOT NULL DEFAULT '',
    calls int NOT NULL DEFAULT 0,
    ended_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX job_ready ON job (operation_id, not_before, id) WHERE state = 'ready';
CREATE INDEX job_parked ON job (operation_id) WHERE state = 'ready' AND waiting = 'parked';
CREATE INDEX job_published ON job (tenant, lane, operation_id, published_at) WHERE state = 'published';
CREATE INDEX job_of_mailbox ON job (tenant, mailbox) WHERE state <> 'ended';

-- The last job that began to write here. It is settled when it has ended; a job of an earlier operation may not begin any more.
CREATE TABLE begun (
    tenant text NOT NULL,
    mailbox uuid NOT NULL,
    trustee text NOT NULL,
    operation_id uuid NOT NULL,
    job_id uuid NOT NULL,
    PRIMARY KEY (tenant, mailbox, trustee)
) WITH (fillfactor = 90);

CREATE TABLE mailbox (
    tenant text NOT NULL,
    id uuid NOT NULL,
    site text NOT NULL,
    address text NOT NULL,
    folder_id text,
    folder_path text,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE mailbox_name (
    tenant text NOT NULL,
    name text NOT NULL,
    mailbox uuid NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE access (
    tenant text NOT NULL,
    mailbox uuid NOT NULL,
    trustee text NOT NULL,
    state text NOT NULL,
    role text NOT NULL,
    verified_at timestamptz,
    reason text NOT NULL,
    operation_id uuid NOT NULL,
    PRIMARY KEY (tenant, mailbox, trustee)
);

-- Every change of an operation, for those who watch: numbers are taken in the transaction of the change.
CREATE TABLE operation_event (
    operation_id uuid NOT NULL,
    sequence bigint NOT NULL,
    at timestamptz NOT NULL,
    state text NOT NULL,
    counts bigint[] NOT NULL, -- accepted, then outcomes in their order
    waiting_for text NOT NULL,
    PRIMARY KEY (operation_id, sequence)
);

-- What is known of each budget key, leases apart: see `KeyState` in libs/budget. Rewritten at every renewal, so rows leave room for that.
CREATE TABLE budget_key (
    name text PRIMARY KEY,
    state jsonb
) WITH (fillfactor = 50);

CREATE TABLE budget_lease (
    key text NOT NULL,
    replica text NOT NULL,
    state jsonb NOT NULL,
    PRIMARY KEY (key, replica)
) WITH (fillfactor = 50);

-- Grows when the clock was set.
CREATE TABLE budget_era (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), era bigint NOT NULL);
INSERT INTO budget_era (era) VALUES (1);
