-- Jobs that were handed to a pump and not heard of since: it may have died before it published them. Gone as soon as they are.
CREATE TABLE claim (
    id uuid NOT NULL, -- made up by the pump; one row for each lane it took from
    claimed_at timestamptz NOT NULL,
    jobs uuid[] NOT NULL
);
CREATE INDEX claim_by_id ON claim (id);
