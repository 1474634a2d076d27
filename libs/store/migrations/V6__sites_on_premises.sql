-- How servers on premises are reached, for sites of the kind onprem. Their rows in site have empty columns where only Exchange Online
-- has something, and 'auto' as write_path, which is here.
CREATE TABLE onprem_site (
    tenant text NOT NULL,
    kind text NOT NULL,
    write_path text NOT NULL,
    ews_url text NOT NULL, -- empty: not used
    ews_sign_in text NOT NULL,
    powershell_url text NOT NULL, -- empty: not used
    powershell_sign_in text NOT NULL,
    access text NOT NULL,
    budget_key text NOT NULL,
    token_url text NOT NULL, -- empty: no tokens
    token_scope text NOT NULL,
    ldap_url text NOT NULL,
    ldap_base text, -- nothing: the controller's own domain
    disabled_accounts text NOT NULL,
    ca_file text, -- nothing: the system's authorities
    PRIMARY KEY (tenant, kind),
    FOREIGN KEY (tenant, kind) REFERENCES site ON DELETE CASCADE
);

-- The name an account signs in with on premises; empty online.
ALTER TABLE account ADD COLUMN user_name text NOT NULL DEFAULT '';
