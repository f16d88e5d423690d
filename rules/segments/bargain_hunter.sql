-- id: bargain_hunter
-- name: Bargain hunter
-- owner: pricing
-- description: Buys often and cheaply
-- tags: revenue, discount
SELECT user_id FROM purchase
WHERE ts > now() - INTERVAL 90 DAYS
GROUP BY user_id
HAVING count(*) >= 3 AND avg(amount) < 25
