-- id: vip_waiting
-- name: VIP waiting for help
-- owner: support
-- description: On the list of VIPs, and asked for help within the last two days
-- tags: care, service
SELECT user_id FROM list('vip')
INTERSECT
SELECT user_id FROM support_ticket
WHERE ts > now() - INTERVAL 2 DAYS
