-- id: lapsed_customer
-- name: Lapsed customer
-- owner: growth
-- description: Bought once, but not for two weeks
-- tags: win-back
SELECT user_id FROM purchase
EXCEPT
SELECT user_id FROM purchase
WHERE ts > now() - INTERVAL 14 DAYS
