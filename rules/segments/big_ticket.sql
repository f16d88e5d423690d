-- id: big_ticket
-- name: Big ticket
-- owner: growth
-- description: One order of 300 or more within a quarter, or three within a month and none below 50
-- tags: revenue
SELECT user_id FROM purchase
WHERE ts > now() - INTERVAL 90 DAYS
GROUP BY user_id
HAVING max(amount) >= 300
UNION
SELECT user_id FROM purchase
WHERE ts > now() - INTERVAL 30 DAYS
GROUP BY user_id
HAVING min(amount) >= 50 AND count(*) >= 3
