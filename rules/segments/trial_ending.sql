-- id: trial_ending
-- name: Trial about to end
-- owner: product
-- description: The trial ends in less than three days, and no plan was bought
-- tags: saas, reminder
SELECT user_id FROM profiles
WHERE trial_ends > now() AND trial_ends < now() + INTERVAL 3 DAYS
EXCEPT
SELECT user_id FROM subscribed
