-- When credentials expire. The version before goes on working beside this one: it takes the day away when it applies a tenant, and says nothing
-- of certificates.

ALTER TABLE account ADD COLUMN expires_on date; -- as the tenant's file says

-- When the certificate expires that an account signs in with, as whoever uses it has read.
CREATE TABLE certificate_expiry (
    tenant text NOT NULL,
    site text NOT NULL,
    account text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, site, account)
);
