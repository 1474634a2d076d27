-- Onboarding events, the log of what is known of mailboxes, and messages that could not be handled. The version before goes on
-- working beside this one.

ALTER TABLE delegation ADD COLUMN policy text NOT NULL DEFAULT 'once';
CREATE INDEX delegation_keep ON delegation (tenant, id) WHERE policy = 'keep';

-- An operation that is confined to some mailboxes; to none if empty.
ALTER TABLE operation ADD COLUMN confined_to text[] NOT NULL DEFAULT '{}';
ALTER TABLE operation ADD COLUMN beyond_selector boolean NOT NULL DEFAULT false;
ALTER TABLE operation ADD COLUMN awaits boolean NOT NULL DEFAULT false;

CREATE INDEX mailbox_name_of ON mailbox_name (tenant, mailbox);

CREATE TABLE event_inbox (
    source text NOT NULL,
    id text NOT NULL,
    tenant text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL, -- as the source says
    subjects text[] NOT NULL, -- every name of the mailbox that was known
    received_at timestamptz NOT NULL,
    acting_until timestamptz, -- null: over
    verdict text NOT NULL,
    operations uuid[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (source, id)
);
CREATE INDEX event_inbox_leavers ON event_inbox (tenant, received_at) WHERE kind = 'left' AND verdict = 'act';
CREATE INDEX event_inbox_age ON event_inbox (received_at);

-- By each name of a mailbox the latest event that was acted on.
CREATE TABLE event_subject (
    tenant text NOT NULL,
    subject text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    acting_until timestamptz,
    operations uuid[] NOT NULL DEFAULT '{}', -- of all its events, those that may still be under way
    PRIMARY KEY (tenant, subject)
);

-- Every change of what is known of a tenant's mailboxes: numbers are taken in the transaction of the change.
CREATE TABLE mailbox_log (
    tenant text NOT NULL,
    sequence bigint NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    mailbox uuid NOT NULL,
    address text NOT NULL,
    trustee text NOT NULL,
    role text NOT NULL,
    reason text NOT NULL,
    operation_id uuid NOT NULL,
    PRIMARY KEY (tenant, sequence)
);

CREATE TABLE mailbox_log_head (
    tenant text PRIMARY KEY,
    sequence bigint NOT NULL, -- the last one taken
    announced bigint NOT NULL DEFAULT 0 -- the last one that is on the broker
) WITH (fillfactor = 50);

CREATE TABLE dead_letter (
    id uuid PRIMARY KEY, -- begins with the time it was stored
    number text NOT NULL UNIQUE, -- one for each putting aside, so that storing it twice changes nothing
    queue text NOT NULL,
    cause text NOT NULL,
    reason text NOT NULL,
    by_version int NOT NULL,
    about text NOT NULL,
    tenant text NOT NULL,
    operation_id uuid,
    job_id uuid,
    message_id text NOT NULL,
    content_type text NOT NULL,
    headers text[] NOT NULL, -- names and values by turns
    body bytea NOT NULL,
    dead_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'waiting',
    resolved_by text NOT NULL DEFAULT '',
    resolved_at timestamptz,
    ticket text NOT NULL DEFAULT ''
);
CREATE INDEX dead_letter_waiting ON dead_letter (id) WHERE state = 'waiting';
CREATE INDEX dead_letter_of_operation ON dead_letter (operation_id) WHERE state = 'waiting';
