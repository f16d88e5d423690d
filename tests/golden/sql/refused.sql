SELECT user_id FROM purchase; DROP TABLE events
SELECT user_id FROM purchase;;
SELECT user_id FROM purchase; SET spark.sql.ansi.enabled=false
SET spark.sql.legacy = true
DROP TABLE purchase
INSERT INTO purchase SELECT user_id FROM purchase
CREATE TABLE x AS SELECT user_id FROM purchase
CREATE TEMPORARY FUNCTION f AS 'com.evil.F' USING JAR '/tmp/evil.jar'
ADD JAR '/tmp/evil.jar'
ADD FILE '/etc/passwd'
LOAD DATA INPATH '/etc/passwd' INTO TABLE purchase
DESCRIBE purchase
SHOW TABLES
EXPLAIN SELECT user_id FROM purchase
REFRESH TABLE purchase
CACHE TABLE purchase
TRUNCATE TABLE purchase
MERGE INTO purchase USING b ON a = b WHEN MATCHED THEN DELETE
UPDATE purchase SET amount = 1
DELETE FROM purchase
CALL system.procedure()
EXECUTE IMMEDIATE 'DROP TABLE x'
DECLARE x INT
VALUES ('u1')
TABLE purchase
FROM purchase SELECT user_id
WITH x AS (SELECT user_id FROM purchase) SELECT user_id FROM x
SELECT reflect('java.lang.Runtime', 'getRuntime')
SELECT java_method('java.lang.System', 'exit', 0)
SELECT user_id FROM purchase WHERE reflect('java.lang.System', 'exit', 0) = 'x'
SELECT user_id FROM purchase WHERE java_method('java.util.UUID', 'randomUUID') = sku
SELECT user_id FROM purchase WHERE sku = reflect('java.lang.System', 'getenv', 'HOME')
SELECT user_id FROM purchase GROUP BY user_id HAVING try_reflect('a', 'b') > 1
SELECT TRANSFORM(user_id) USING 'cat /etc/passwd' AS (x) FROM purchase
SELECT TRANSFORM(user_id) USING 'sh' FROM purchase
FROM purchase MAP user_id USING 'cat' AS x
SELECT user_id FROM delta.`/etc`
SELECT user_id FROM parquet.`s3a://bucket/x`
SELECT user_id FROM csv.`/etc/passwd`
SELECT user_id FROM text.`/etc/passwd`
SELECT user_id FROM json.`file:///x`
SELECT user_id FROM spark_catalog.default.purchase
SELECT user_id FROM other.purchase
SELECT user_id FROM read_files('/etc/passwd')
SELECT user_id FROM range(1000000000)
SELECT user_id FROM purchase@v1
SELECT user_id FROM purchase VERSION AS OF 1
SELECT user_id FROM purchase TIMESTAMP AS OF '2026-01-01'
SELECT user_id FROM purchase TABLESAMPLE (10 PERCENT)
SELECT user_id FROM purchase, page_view
SELECT user_id FROM purchase CROSS JOIN page_view
SELECT user_id FROM purchase FULL OUTER JOIN page_view USING (user_id)
SELECT user_id FROM purchase a JOIN page_view b ON a.user_id = b.user_id
SELECT user_id FROM purchase NATURAL JOIN page_view
SELECT user_id FROM purchase LEFT SEMI JOIN page_view ON TRUE
SELECT user_id FROM purchase LATERAL VIEW explode(labels) t AS x
SELECT user_id FROM purchase, LATERAL (SELECT 1)
SELECT user_id FROM (SELECT user_id FROM purchase)
SELECT user_id FROM (SELECT user_id FROM purchase) x WHERE x.user_id = 'a'
SELECT user_id FROM (VALUES ('a')) AS t(user_id)
SELECT user_id FROM purchase PIVOT (sum(amount) FOR sku IN ('a'))
SELECT user_id FROM purchase ORDER BY ts
SELECT user_id FROM purchase LIMIT 10
SELECT user_id FROM purchase LIMIT ALL
SELECT user_id FROM purchase OFFSET 5
SELECT user_id FROM purchase FETCH FIRST 5 ROWS ONLY
SELECT TOP 5 user_id FROM purchase
SELECT user_id FROM purchase SORT BY ts
SELECT user_id FROM purchase DISTRIBUTE BY sku
SELECT user_id FROM purchase CLUSTER BY sku
SELECT user_id FROM purchase QUALIFY row_number() OVER (ORDER BY ts) = 1
SELECT user_id FROM purchase WINDOW w AS (PARTITION BY sku)
SELECT user_id FROM purchase FOR UPDATE
SELECT user_id INTO x FROM purchase
SELECT * FROM purchase
SELECT purchase.* FROM purchase
SELECT user_id, ts FROM purchase
SELECT user_id AS u FROM purchase
SELECT user_id u FROM purchase
SELECT count(*) FROM purchase
SELECT max(user_id) FROM purchase
SELECT (SELECT user_id FROM purchase) FROM profiles
SELECT DISTINCT ON (sku) user_id FROM purchase
SELECT /*+ BROADCAST(purchase) */ user_id FROM purchase
SELECT 'u1' AS user_id
SELECT user_id
SELECT user_id FROM purchase WHERE rand() < 0.5
SELECT user_id FROM purchase WHERE uuid() = sku
SELECT user_id FROM purchase WHERE monotonically_increasing_id() < 5
SELECT user_id FROM purchase WHERE input_file_name() LIKE '/x%'
SELECT user_id FROM purchase WHERE current_user() = 'root'
SELECT user_id FROM purchase WHERE sku = current_database()
SELECT user_id FROM purchase WHERE repeat('a', 1000000000) = sku
SELECT user_id FROM purchase WHERE array_contains(sequence(1, 1000000000), 1)
SELECT user_id FROM purchase WHERE array_contains(labels, repeat('a', 1000000000))
SELECT user_id FROM purchase WHERE sku = concat('a', 'b')
SELECT user_id FROM purchase WHERE sku = 'a' || 'b'
SELECT user_id FROM purchase WHERE upper(sku) = 'A'
SELECT user_id FROM purchase WHERE amount + 1 > 2
SELECT user_id FROM purchase WHERE amount > 1 + 1
SELECT user_id FROM purchase WHERE amount / 0 > 1
SELECT user_id FROM purchase WHERE amount & 1 = 1
SELECT user_id FROM purchase WHERE CAST(amount AS INT) > 1
SELECT user_id FROM purchase WHERE amount::int > 1
SELECT user_id FROM purchase WHERE ships > CAST('2026-01-01' AS TIMESTAMP)
SELECT user_id FROM purchase WHERE CASE WHEN amount > 1 THEN TRUE ELSE FALSE END
SELECT user_id FROM purchase WHERE IF(amount > 1, TRUE, FALSE)
SELECT user_id FROM purchase WHERE coalesce(amount, 0) > 1
SELECT user_id FROM purchase WHERE amount > items
SELECT user_id FROM purchase WHERE 1 = 1
SELECT user_id FROM purchase WHERE TRUE
SELECT user_id FROM purchase WHERE NULL
SELECT user_id FROM purchase WHERE 'a'
SELECT user_id FROM purchase WHERE amount = NULL
SELECT user_id FROM purchase WHERE amount IN (1, NULL)
SELECT user_id FROM purchase WHERE amount IN ()
SELECT user_id FROM purchase WHERE (amount, items) IN ((1, 2))
SELECT user_id FROM purchase WHERE amount IN (SELECT amount FROM purchase)
SELECT user_id FROM purchase WHERE amount > (SELECT max(amount) FROM purchase)
SELECT user_id FROM purchase WHERE amount > ANY (SELECT amount FROM purchase)
SELECT user_id FROM purchase WHERE amount > ALL (SELECT amount FROM purchase)
SELECT user_id FROM purchase WHERE user_id = 'ann'
SELECT user_id FROM purchase WHERE user_id IN ('ann', 'bob')
SELECT user_id FROM purchase WHERE user_id LIKE 'a%'
SELECT user_id FROM purchase WHERE x.amount > 1
SELECT user_id FROM purchase WHERE sku LIKE '%'
SELECT user_id FROM purchase WHERE sku LIKE 'a%b'
SELECT user_id FROM purchase WHERE sku LIKE 'a_'
SELECT user_id FROM purchase WHERE sku LIKE 'a\%'
SELECT user_id FROM purchase WHERE sku LIKE 'a!%' ESCAPE '!'
SELECT user_id FROM purchase WHERE sku LIKE ANY ('a%', 'b%')
SELECT user_id FROM purchase WHERE sku ILIKE 'A%'
SELECT user_id FROM purchase WHERE sku SIMILAR TO 'a'
SELECT user_id FROM purchase WHERE sku LIKE sku
SELECT user_id FROM purchase WHERE regexp_like(sku, 'a', 'i')
SELECT user_id FROM purchase WHERE sku = "a"
SELECT user_id FROM purchase WHERE "sku" = 'a'
SELECT user_id FROM purchase WHERE sku = N'a'
SELECT user_id FROM purchase WHERE sku = X'61'
SELECT user_id FROM purchase WHERE sku = r'a'
SELECT user_id FROM purchase WHERE sku = 'a' 'b'
SELECT user_id FROM purchase WHERE sku COLLATE utf8 = 'a'
SELECT user_id FROM purchase WHERE sku = :x
SELECT user_id FROM purchase WHERE sku = ?
SELECT user_id FROM purchase WHERE sku = ${x}
SELECT user_id FROM purchase WHERE sku = {{ x }}
SELECT user_id FROM purchase WHERE sku = @x
SELECT user_id FROM purchase WHERE labels[0] = 'a'
SELECT user_id FROM purchase WHERE ships = DATE '2026-02-30'
SELECT user_id FROM purchase WHERE ships = TIMESTAMP 'now'
SELECT user_id FROM purchase WHERE ships = TIMESTAMP '2026-01-01 00:00:00.0001'
SELECT user_id FROM purchase WHERE ships = TIMESTAMP_NTZ '2026-01-01 00:00:00'
SELECT user_id FROM purchase WHERE ships > now() - INTERVAL 1 MONTH
SELECT user_id FROM purchase WHERE ships > now() - INTERVAL '1-2' YEAR TO MONTH
SELECT user_id FROM purchase WHERE ships > now() - 5
SELECT user_id FROM purchase WHERE amount = 1e999999
SELECT user_id FROM purchase WHERE amount = 1_000
SELECT user_id FROM purchase WHERE amount = 0x1F
SELECT user_id FROM purchase WHERE ts > now()
SELECT user_id FROM purchase WHERE ts < now() - INTERVAL 30 DAYS
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 30 DAYS OR amount > 1
SELECT user_id FROM purchase WHERE NOT ts > now() - INTERVAL 30 DAYS
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 30 DAYS AND ts > now() - INTERVAL 7 DAYS
SELECT user_id FROM purchase WHERE ts >= DATE '2026-01-01' AND ts > now() - INTERVAL 7 DAYS
SELECT user_id FROM purchase WHERE ts >= DATE '2026-01-02' AND ts < DATE '2026-01-01'
SELECT user_id FROM purchase WHERE ts = TIMESTAMP '2026-01-01 00:00:00'
SELECT user_id FROM purchase WHERE ts > '2026-01-01'
SELECT user_id FROM purchase WHERE ts > current_date
SELECT user_id FROM purchase WHERE ts > date_trunc('week', now())
SELECT user_id FROM purchase WHERE ts + INTERVAL 1 DAY > now()
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 0 DAYS
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL -3 DAYS
SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 200 YEARS
SELECT user_id FROM purchase WHERE ts IN (TIMESTAMP '2026-01-01 00:00:00')
SELECT user_id FROM purchase WHERE ts IS NOT NULL
SELECT user_id FROM purchase WHERE sum(amount) > 1
SELECT user_id FROM purchase HAVING count(*) > 1
SELECT user_id FROM purchase GROUP BY sku
SELECT user_id FROM purchase GROUP BY user_id, sku
SELECT user_id FROM purchase GROUP BY ALL
SELECT user_id FROM purchase GROUP BY ROLLUP (user_id)
SELECT user_id FROM purchase GROUP BY user_id WITH CUBE
SELECT user_id FROM purchase GROUP BY user_id HAVING amount > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) > count(*)
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount * 2) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(DISTINCT amount) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING count(DISTINCT sku, items) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING count(sku, items) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING count(DISTINCT ts) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING count(*) IS NULL
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) FILTER (WHERE items = 1) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING sum(amount) OVER () > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING stddev(amount) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING max(ts) > now() - INTERVAL 3 DAYS
SELECT user_id FROM purchase GROUP BY user_id HAVING max_by(sku, ts) = 'a'
SELECT user_id FROM purchase GROUP BY user_id HAVING max_by(sku, amount) = 'a'
SELECT user_id FROM purchase GROUP BY user_id HAVING first(sku) = 'a'
SELECT user_id FROM purchase GROUP BY user_id HAVING max(amount, items) > 1
SELECT user_id FROM purchase GROUP BY user_id HAVING collect_list(sku) = 'a'
SELECT user_id FROM profiles GROUP BY user_id
SELECT user_id FROM profiles WHERE sum(age) > 1
SELECT user_id FROM profiles WHERE EXISTS (SELECT 1 FROM purchase)
SELECT user_id FROM profiles WHERE EXISTS (SELECT 1 FROM purchase p WHERE p.sku = profiles.country)
SELECT user_id FROM profiles WHERE EXISTS (SELECT 1 FROM profiles WHERE profiles.user_id = profiles.user_id)
SELECT user_id FROM profiles p WHERE EXISTS (SELECT 1 FROM purchase x WHERE x.user_id = p.user_id OR TRUE)
SELECT user_id FROM purchase UNION SELECT ts FROM purchase
SELECT user_id FROM purchase UNION BY NAME SELECT user_id FROM page_view
SELECT user_id FROM purchase EXCEPT ALL SELECT user_id FROM page_view
SELECT user_id FROM purchase INTERSECT ALL SELECT user_id FROM page_view
SELECT user_id FROM purchase UNION SELECT user_id FROM page_view ORDER BY user_id LIMIT 1
(SELECT user_id FROM purchase) LIMIT 1
SELECT user_id FROM segment(other)
SELECT user_id FROM segment('a', 'b')
SELECT user_id FROM segment()
SELECT user_id FROM list('a b')
SELECT user_id FROM list('../../etc/passwd')
SELECT user_id FROM segmnt('other')
SELECT user_id FROM condition('{sql: drop}')
SELECT user_id FROM condition('!!python/object/apply:os.system ["id"]')
SELECT user_id FROM condition('{did: &a login, where: *a}')
SELECT user_id FROM condition('')
SELECT user_id FROM condition("{did: login}")
SELECT user_id FROM condition(concat('{did: ', 'login}'))
SELECT user_id FROM segment('a') WHERE country = 'DE'
SELECT user_id FROM purchаse
SELECT usеr_id FROM purchase
SELECT user_id FROM `größe`
SELECT user_id FROM purchase WHERE sku = 'a
SELECT user_id FROM purchase WHERE sku = 'a' /* open
SELECT user_id FROM purchase WHERE `sku = 'a'
SELECT user_id FROM purchase WHERE (sku = 'a'
SELECT user_id FROM purchase WHERE sku = 'a')
SELECT user_id, FROM purchase
SELECT user_id FROM purchase WHERE sku IN ('a',)
SELECT user_id FROM purchase WHERE
SELECT user_id FROM
SELECT
user_id
-- id: y
SELECT user_id FROM profiles p WHERE EXISTS (SELECT count(*) FROM purchase x WHERE x.user_id = p.user_id)
SELECT user_id FROM profiles p WHERE EXISTS (SELECT user_id FROM purchase x UNION SELECT user_id FROM page_view)
SELECT user_id FROM purchase WHERE sku = 'a' AND ts
SELECT user_id FROM purchase WHERE amount BETWEEN SYMMETRIC 1 AND 2
SELECT user_id FROM purchase WHERE amount IN UNNEST(labels)
SELECT user_id FROM purchase WHERE sku LIKE ALL ('a%')
SELECT user_id FROM purchase p(user_id)
SELECT user_id FROM purchase WHERE EXTRACT(year FROM ts) = 2026
SELECT user_id FROM purchase WHERE amount NOTNULL XOR gift
SELECT user_id FROM purchase WHERE x -> 'a' = 'b'
SELECT user_id FROM purchase WHERE filter(labels, x -> x = 'a') IS NOT NULL
SELECT user_id FROM purchase WHERE (SELECT TRUE)
SELECT user_id FROM purchase WHERE sku = ''''''; DELETE FROM x
SELECT user_id FROM condition('{did: purchase}') CROSS JOIN list('vip')
SELECT user_id FROM profiles WHERE user_id = (SELECT user_id FROM purchase)
SELECT user_id FROM profiles WHERE (SELECT count(*) FROM purchase) > 3
