-- Groups of nodes that jobs can be addressed to.

CREATE TABLE subclouds (
    id          TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    account     TEXT NOT NULL REFERENCES accounts (id),
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    -- JSON: names of models; [] is all.
    models      TEXT NOT NULL,
    join_policy TEXT NOT NULL,
    -- SHA-256 of the join token.
    token_hash  BLOB,
    access      TEXT NOT NULL,
    -- JSON: ids of namespaces.
    namespaces  TEXT NOT NULL,
    isolated    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (environment, name),
    CONSTRAINT subcloud_environment_known CHECK (environment = 'testnet' OR environment = 'mainnet'),
    CONSTRAINT subcloud_join_known CHECK (join_policy = 'open' OR join_policy = 'closed'),
    CONSTRAINT subcloud_open_has_no_token CHECK (join_policy = 'closed' OR token_hash IS NULL),
    CONSTRAINT subcloud_access_known CHECK (access = 'open' OR access = 'members')
) STRICT, WITHOUT ROWID;
CREATE INDEX subclouds_of_account ON subclouds (account, environment, id);

CREATE TABLE subcloud_nodes (
    subcloud    TEXT NOT NULL REFERENCES subclouds (id),
    node        TEXT NOT NULL,
    environment TEXT NOT NULL,
    joined_at   INTEGER NOT NULL,
    PRIMARY KEY (subcloud, node),
    FOREIGN KEY (node, environment) REFERENCES nodes (id, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX subclouds_of_node ON subcloud_nodes (node, environment);
