-- id: newcomer
-- name: Newcomer
-- owner: growth
-- description: Signed up within the last 30 days and has not bought yet
-- tags: welcome
SELECT user_id FROM profiles
WHERE signed_up > now() - INTERVAL 30 DAYS
EXCEPT
SELECT user_id FROM purchase
