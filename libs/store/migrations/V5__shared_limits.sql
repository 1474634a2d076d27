-- What all accounts of a site may do together; nothing: no more is known than is learned.
ALTER TABLE site
    ADD COLUMN in_flight int,
    ADD COLUMN window_calls int[] NOT NULL DEFAULT '{}',
    ADD COLUMN window_millis bigint[] NOT NULL DEFAULT '{}';

-- Exchange's balance of server time: burst, recharge in an hour, floor; nothing: the account has none.
ALTER TABLE account ADD COLUMN server_time_millis bigint[];
