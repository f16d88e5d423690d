-- id: pricing_viewer
-- name: Looked at the prices
-- owner: sales
-- description: Viewed the pricing page in the last 7 days
-- tags: conversion
SELECT user_id FROM page_view
WHERE ts > now() - INTERVAL 7 DAYS AND page = '/pricing'
