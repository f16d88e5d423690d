-- id: mobile_shopper
-- name: Mobile shopper
-- owner: web
-- description: Signed in with a phone the last time that we know the device of
-- tags: device
SELECT user_id FROM login
WHERE device IS NOT NULL
GROUP BY user_id
HAVING max_by(device, ts) = 'phone'
