-- id: mail_reader
-- name: Reads our mail
-- owner: crm
-- description: Opened two mailings within two weeks, or searches for what we wrote about
-- tags: mail
SELECT user_id FROM email_open
WHERE ts > now() - INTERVAL 14 DAYS
GROUP BY user_id
HAVING count(*) >= 2
UNION
SELECT user_id FROM search
WHERE ts > now() - INTERVAL 14 DAYS AND query LIKE '%gift%'
