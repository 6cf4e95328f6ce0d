-- What a destination has differently
ALTER TABLE plain ADD extra int DEFAULT 7;
ALTER TABLE plain ADD gone int;
ALTER TABLE plain DROP gone;
DROP TABLE full_key;
CREATE TABLE full_key (extra text, big text, v bigint, id numeric PRIMARY KEY);
ALTER TABLE full_key ALTER big SET STORAGE EXTERNAL;
ALTER TABLE extra ADD at timestamptz DEFAULT '2000-01-01', ADD n int;
CREATE INDEX ON checked (v);
CREATE ROLE app;
ALTER TABLE checked OWNER TO app;
ALTER TABLE text_key OWNER TO app;
ALTER TABLE uniq OWNER TO app;
