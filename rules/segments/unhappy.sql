-- id: unhappy
-- name: Unhappy
-- owner: support
-- description: A bad review, a lost amount or an urgent question within a month
-- tags: care
SELECT user_id FROM review
WHERE ts > now() - INTERVAL 30 DAYS AND stars IN (1, 2)
UNION
SELECT user_id FROM refund
WHERE ts > now() - INTERVAL 30 DAYS
GROUP BY user_id
HAVING sum(amount) > 100
UNION
SELECT user_id FROM support_ticket
WHERE ts > now() - INTERVAL 30 DAYS AND (priority <= 2 OR topic LIKE 'complaint%')
